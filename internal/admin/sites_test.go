package admin_test

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

// TestSuspendSite: a site is suspended by a destination that leads there, and
// everybody is told which that is.
func TestSuspendSite(t *testing.T) {
	r := newRig(t)
	const name = "mx:mail.a.example:25"
	meant, err := r.Suspend(t.Context(), admin.Suspend{Subject: admin.Subject{What: admin.OneSite, Name: "A.example"}, Reason: "they move"})
	if err != nil || meant != (admin.Subject{What: admin.OneSite, Name: name}) {
		t.Fatalf("suspended %+v, %v", meant, err)
	}
	if f := r.facts(t); len(f) != 1 || f[0].Text != "site "+name+" suspended: they move" || f[0].Reason != mail.ReasonMarked {
		t.Errorf("facts: %+v", f)
	}
	r.sites.SuspendSite(name, true) // as the daemon does at the mark
	list, err := r.ListSites(t.Context(), false, 10)
	if err != nil || list.Known != 1 || list.SiteCounts.Suspended != 1 || len(list.Sites) != 1 || list.Sites[0].Suspension == nil || list.Sites[0].Suspension.Reason != "they move" {
		t.Errorf("list: %+v, %v", list, err)
	}
	if list, err = r.ListSites(t.Context(), true, 10); err != nil || len(list.Sites) != 0 {
		t.Errorf("down: %+v, %v", list, err)
	}
	site, err := r.Site(t.Context(), "mx:mail.a")
	if err != nil || site.Name != name || site.Suspension == nil || site.Leads == nil {
		t.Errorf("site: %+v, %v", site, err)
	}
	status, err := r.Status(t.Context())
	if err != nil || status.Sites.Suspended != 1 || status.Sites.Worst != nil || len(status.Suspensions) != 1 || status.Suspensions[0].Name != name {
		t.Errorf("status: %+v, %v", status, err)
	}
	if meant, err = r.Resume(t.Context(), admin.Subject{What: admin.OneSite, Name: "mx:mail"}); err != nil || meant.Name != name {
		t.Errorf("resumed %+v, %v", meant, err)
	}
	if _, err = r.Resume(t.Context(), admin.Subject{What: admin.OneSite, Name: "a.example"}); err == nil || err.Error() != "site "+name+" is not suspended" {
		t.Errorf("resumed twice: %v", err)
	}
}

func TestNoSuchSite(t *testing.T) {
	r := newRig(t)
	for name, want := range map[string]string{
		"mx:nowhere":   `none is known that begins with "mx:nowhere"`,
		"lost.example": "it has no way as a destination: 451 4.4.4 No way",
		"b.example":    "b.example leads to the site mx:mail.b.example:25, for which there was no mail",
	} {
		_, err := r.Site(t.Context(), name)
		if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != 404 || !strings.Contains(p.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	_, err := r.Suspend(t.Context(), admin.Suspend{Subject: admin.Subject{What: admin.OneSite, Name: "mx:nowhere"}, Reason: "x"})
	if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != 404 {
		t.Errorf("suspended: %v", err)
	}
}

// TestRetrySite: all mail for the destinations of a site is due now, other mail
// is not.
func TestRetrySite(t *testing.T) {
	r := newRig(t)
	r.accept(t, new(mail.IDs), "a@x.example", "b@y.example")
	done, err := r.RetrySite(t.Context(), "X.example", func(queue.Edited) {})
	if err != nil || done != (queue.Edited{Changed: 1}) {
		t.Errorf("got %+v, %v", done, err)
	}
	if f := r.facts(t); len(f) != 1 || f[0].Reason != mail.ReasonRetried || f[0].To[0] != "<a@x.example>" || f[0].Actor != me(t) {
		t.Errorf("facts: %+v", f)
	}
}

package deliver

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// demanding has a message demand TLS, as policy does.
func demanding(demand mail.TLSDemand) func(*queue.Entry) {
	return func(e *queue.Entry) { e.TLS = demand }
}

// TestDemandOfTLS: mail that demands TLS goes over no connection without it,
// although its site would do and one in clear is kept there; other mail to the
// same site goes as before.
func TestDemandOfTLS(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx0.example")
	safe := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config})
	plain := mailtest.NewSink(t)
	h := start(t, routes{"safe.example": to("safe", safe.Addr()), "plain.example": to("plain", plain.Addr())}, trusting(roots))
	for _, demand := range []mail.TLSDemand{"", mail.TLSRequired, mail.TLSVerified, ""} {
		id := h.submitWith("me@sender.example", demanding(demand), "a@safe.example")
		h.awaitFacts(id, mail.ReasonDelivered, 1)
		var got *mail.TLS
		for _, f := range h.facts(id) {
			if f.Reason == mail.ReasonAttempted {
				got = f.TLS
			}
		}
		if (got != nil) != (demand != "") || got != nil && got.Verified != (demand == mail.TLSVerified) {
			t.Errorf("demand %q was met by %+v", demand, got)
		}
	}
	h.awaitFacts(h.submit("me@sender.example", "a@plain.example"), mail.ReasonDelivered, 1)
	id := h.submitWith("me@sender.example", demanding(mail.TLSRequired), "a@plain.example")
	if f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]; f.Reply.Enhanced != "4.7.4" {
		t.Errorf("to a server without TLS: %s", brief(f))
	}
	if n := len(plain.Received()); n != 1 {
		t.Errorf("the server without TLS got %d messages, want the one that demands nothing", n)
	}
}

// TestRoutesOfOneDomain: two recipients of one domain for which policy chose
// different routes go out apart, and one with none goes by that of the domain.
func TestRoutesOfOneDomain(t *testing.T) {
	one, two := mailtest.NewSink(t), mailtest.NewSink(t)
	h := start(t, routes{
		"x.example":         to("mx:x", one.Addr()),
		"x.example/two:25":  to("smarthost:two:25", two.Addr()),
		"x.example/none:25": mail.Refuse(451, "4.4.4", "no way"),
	}, Options{})
	by := []mail.RouteKey{"", "two:25", "two:25", "none:25"}
	id := h.submitWith("me@sender.example", func(e *queue.Entry) {
		all := e.Deliveries[0].Recipients
		e.Deliveries = queue.DeliveriesBy(all, e.Accepted, func(i int) mail.Destination { return all[i].Address.Destination().Via(by[i]) })
	}, "a@x.example", "b@x.example", "c@x.example", "d@x.example")
	h.awaitFacts(id, mail.ReasonDelivered, 2)
	h.awaitFacts(id, mail.ReasonDeferred, 1)
	got := []string{strings.Join(one.Received()[0].To(), " "), strings.Join(two.Received()[0].To(), " ")}
	if diff := cmp.Diff([]string{"a@x.example", "b@x.example c@x.example"}, got); diff != "" {
		t.Error(diff)
	}
	h.wantStates(id, "d@x.example deferred 1")
}

// TestDeadLetterKeepsItsRoute: what policy asked for a message is asked for its
// dead letter too.
func TestDeadLetterKeepsItsRoute(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no", "b": "550 5.1.1 no"}))
	h := start(t, routes{"": to("a", peer.Addr())}, Options{})
	id := h.submitWith("", func(e *queue.Entry) {
		e.Tags = []string{"payroll"}
		all := e.Deliveries[0].Recipients
		e.Deliveries = queue.DeliveriesBy(all, e.Accepted, func(i int) mail.Destination {
			return all[i].Address.Destination().Via([]mail.RouteKey{"", "two:25"}[i])
		})
	}, "a@x.example", "b@x.example")
	h.awaitFacts(id, mail.ReasonDead, 2)
	h.finish()
	var routes []string
	for _, e := range h.wantOnly(slices.Collect(func(yield func(mail.ID) bool) {
		for _, f := range h.facts(id) {
			if f.Reason == mail.ReasonHeld && !yield(f.Message) {
				return
			}
		}
	})...) {
		for _, d := range e.Deliveries {
			routes = append(routes, d.Recipients[0].Address.String()+" to "+string(d.Destination)+" "+strings.Join(e.Tags, " "))
		}
	}
	slices.Sort(routes)
	if diff := cmp.Diff([]string{"a@x.example to x.example payroll", "b@x.example to x.example/two:25 payroll"}, routes); diff != "" {
		t.Error(diff)
	}
}

package submit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
)

const rulesOfPrograms = `version = 1
hostname = "gate.example"
postmaster = "admin@example.net"
data_dir = "/var/lib/postern"
[[listener]]
address = "127.0.0.1:2525"
[[handler]]
name = "never"
at = "rcpt"
listeners = ["sendmail"]
recipient = ["never@x.example"]
steps = [ { reject = "550 5.7.1 Never" } ]
[[handler]]
name = "later"
at = "rcpt"
recipient = ["later@x.example"]
steps = [ "defer" ]
[[handler]]
name = "later-of"
at = "mail"
sender = ["later@mail.example"]
steps = [ "defer" ]
[[handler]]
name = "later-content"
priority = 2
at = "data"
when = 'message.subject == "later"'
steps = [ "defer" ]
[[handler]]
name = "held"
at = "data"
when = 'message.subject == "hold"'
steps = [ { hold = "as it says" } ]
[[handler]]
name = "bad"
priority = 1
at = "data"
when = 'message.subject == "bad"'
steps = [ { reject = "554 5.7.1 Bad" } ]
`

func engineOfPrograms(t *testing.T) *policy.Engine {
	t.Helper()
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(rulesOfPrograms)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	engine, problems := policy.Compile(policy.Options{Config: c})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return engine
}

// TestDeferredForEver: a message that policy defers each time keeps no other from being
// taken, and when its time is over its sender is told.
func TestDeferredForEver(t *testing.T) {
	for _, deferred := range []struct{ to, subject string }{{"later@x.example", "x"}, {"ann@x.example", "later"}, {"later@mail.example", "x"}} {
		h := newHost(t)
		h.door.Policy = engineOfPrograms(t).Begin
		from := "joe@x.example"
		if deferred.to == "later@mail.example" {
			from = "later@mail.example"
		}
		for _, line := range []string{"-f " + from + " " + deferred.to, "-f joe@x.example bob@x.example"} {
			if err := h.post(line, "Subject: "+deferred.subject+"\n\nbody\n"); err != nil {
				t.Fatal(err)
			}
			deferred.subject = "x"
		}
		p := h.pickup()
		for range 2 {
			if err := p.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), "4.7.1") {
				t.Errorf("%+v: %v", deferred, err)
			}
		}
		if _, to, _ := h.only(); to != "bob@x.example" || len(h.files()) != 1 || len(h.refusals) > 0 {
			t.Errorf("%+v: to %s, left: %q, told of %d", deferred, to, h.files(), len(h.refusals))
		}
		file := filepath.Join(string(h.directory), h.files()[0])
		if err := os.Chtimes(file, time.Time{}, h.clock.Now()); err != nil {
			t.Fatal(err)
		}
		h.clock.Advance(mail.DefaultSchedule.Until - time.Second)
		if err := p.Collect(t.Context()); err == nil {
			t.Errorf("%+v: given up too soon", deferred)
		}
		h.clock.Advance(time.Second)
		if err := p.Collect(t.Context()); err != nil {
			t.Errorf("%+v: %v", deferred, err)
		}
		if len(h.files()) > 0 || len(h.refusals) != 1 || !strings.HasPrefix(h.refusals[0].Replies[0].String(), "554 5.4.7 Deferred until its time was over: Not now by policy") {
			t.Errorf("%+v: left %q, told %+v", deferred, h.files(), h.refusals)
		}
	}
}

// TestLeftMailUnderPolicy: a message that was left while the server was down goes
// by the rules that it would have gone by, and who left it is told of what
// these refuse.
func TestLeftMailUnderPolicy(t *testing.T) {
	engine := engineOfPrograms(t)
	for _, x := range []struct {
		to, subject string
		state       mail.State // of whoever is stored
		refused     string     // by which rule
		waits       bool
	}{
		{"ann@x.example", "x", mail.Queued, "", false},
		{"never@x.example ann@x.example", "x", mail.Queued, "never", false},
		{"later@x.example ann@x.example", "x", "", "", true},
		{"ann@x.example", "hold", mail.Held, "", false},
		{"ann@x.example", "bad", "", "bad", false},
	} {
		h := newHost(t)
		h.door.Policy = engine.Begin
		if err := h.post("-f joe@x.example "+x.to, "Subject: "+x.subject+"\n\nbody\n"); err != nil {
			t.Fatal(err)
		}
		if err := h.pickup().Collect(t.Context()); (err != nil) != x.waits {
			t.Errorf("%s %s: %v", x.to, x.subject, err)
		}
		counts, err := h.store.Count(t.Context(), queue.Filter{Recipient: "ann@x.example"})
		if err != nil || counts[x.state] != 1 && x.state != "" || x.state == "" && len(counts) > 0 {
			t.Errorf("%s %s: stored are %v, %v", x.to, x.subject, counts, err)
		}
		if n := len(h.files()); (n > 0) != x.waits {
			t.Errorf("%s %s: %d files are left", x.to, x.subject, n)
		}
		refused := ""
		for _, f := range h.facts.All() {
			if f.Reason == mail.ReasonRefused && len(f.Trail) > 0 {
				refused = f.Trail[0].Rule
			}
		}
		if refused != x.refused || (len(h.refusals) > 0) != (x.refused != "") {
			t.Errorf("%s %s: refused by %q, and %d are told, want %q", x.to, x.subject, refused, len(h.refusals), x.refused)
		}
	}
}

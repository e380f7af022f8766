package submit

import (
	"testing"
	"testing/fstest"

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
steps = [ { defer = "450 4.7.1 Later" } ]
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

// TestLeftMailUnderPolicy: a message that was left while the server was down goes
// by the rules that it would have gone by, and who left it is told of what
// these refuse.
func TestLeftMailUnderPolicy(t *testing.T) {
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(rulesOfPrograms)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	engine, problems := policy.Compile(policy.Options{Config: c})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
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
		for _, f := range h.facts {
			if f.Reason == mail.ReasonRefused && len(f.Trail) > 0 {
				refused = f.Trail[0].Rule
			}
		}
		if refused != x.refused || (len(h.refusals) > 0) != (x.refused != "") {
			t.Errorf("%s %s: refused by %q, and %d are told, want %q", x.to, x.subject, refused, len(h.refusals), x.refused)
		}
	}
}

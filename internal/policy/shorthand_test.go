package policy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/mail"
)

// relayHead has a listener with the settings that follow it.
const relayHead = `version = 1
hostname = "mail.postern.net"
data_dir = "/var/lib/postern"
postmaster = "postmaster@postern.org"
[[listener]]
address = "127.0.0.1:2525"
trust = ["192.0.2.0/24"]
`

// TestRelay is the table of reference: the relay option, for local, near and remote
// recipients, from clients in trust and others.
func TestRelay(t *testing.T) {
	for _, c := range []struct{ option, trusted, others string }{ // local near remote
		{"nobody", "yes no no", "yes no no"},
		{"near", "yes yes no", "yes yes no"},
		{"clients", "yes yes yes", "yes no no"},
		{"both", "yes yes yes", "yes yes no"},
		{"everybody", "yes yes yes", "yes yes yes"},
	} {
		e := compileAll(t, relayHead+fmt.Sprintf("relay = %q\nnear = [\"bücher.example\"]\n", c.option))
		for client, want := range map[string]string{"192.0.2.66": c.trusted, "198.51.100.1": c.others} {
			var got []string
			for _, to := range []string{"joe@MAIL.postern.net", "joe@XN--BCHER-KVA.example", "joe@a.bücher.example"} {
				s := begin(t, e, client)
				s.mail("x@example.com")
				d, _ := s.rcpt(to)
				got = append(got, map[Verdict]string{Accept: "yes", Reject: "no"}[d.Verdict])
				if d.Verdict == Reject && (d.Reply.Code != 550 || d.Reply.Enhanced != "5.7.1" || !strings.HasPrefix(d.Reply.Text, "Relaying denied: "+client)) {
					t.Errorf("the reply is %v", d.Reply)
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("relay %s, client %s: %v, want %s", c.option, client, got, want)
			}
		}
	}
}

// TestRelayIsOfItsListener: the option of one listener says nothing of another, nor of
// users of this host.
func TestRelayIsOfItsListener(t *testing.T) {
	e := compileAll(t, relayHead+"relay = \"nobody\"\n[[listener]]\nname = \"open\"\naddress = \"127.0.0.1:2526\"\nrelay = \"everybody\"\n")
	for listener, want := range map[string]Verdict{"smtp": Reject, "open": Accept, "sendmail": Accept} {
		o := origin("192.0.2.66")
		o.Listener = listener
		s := &talk{t: t, Session: e.Begin(o)}
		s.mail("x@example.com")
		if d, _ := s.rcpt("joe@example.net"); d.Verdict != want {
			t.Errorf("%s: %v", listener, d)
		}
	}
}

// TestRelayComesFirst: what an administrator's handler accepts does not open the relay;
// allow_relay does, and a redirect is his word; what is rewritten is checked again.
func TestRelayComesFirst(t *testing.T) {
	const other = "198.51.100.1"
	for _, c := range []struct{ name, handlers, to, want string }{
		{"accept", handler("h", "rcpt", `"accept"`), "joe@example.net", "reject"},
		{"redirect", handler("h", "rcpt", `{ redirect = "a@example.com" }`), "joe@mail.postern.net", "accept"},
		{"redirect of a stranger", handler("h", "rcpt", `{ redirect = "a@example.com" }`), "joe@example.net", "reject"},
		{"rewrite", handler("h", "rcpt", `{ rewrite_recipient = "*@example.com" }`), "joe@mail.postern.net", "reject"},
		{"rewrite to here", handler("h", "rcpt", `{ rewrite_recipient = "all@*" }`), "joe@mail.postern.net", "accept"},
		{"rewrite, then redirect", handler("h", "rcpt", `{ rewrite_recipient = "*@example.com" }, { redirect = "a@example.com" }`), "joe@mail.postern.net", "accept"},
		{"rewrite at data", handler("h", "data", `{ rewrite_recipient = "*@example.com" }`), "joe@mail.postern.net", "reject at data"},
		{"rewrite at data to here", handler("h", "data", `{ rewrite_recipient = "all@*" }`), "joe@mail.postern.net", "accept"},
		{"allowed at connect", handler("h", "connect", `"allow_relay"`), "joe@example.net", "accept"},
		{"allowed at auth", handler("h", "auth", `"allow_relay"`), "joe@example.net", "accept"},
		{"allowed at mail", handler("h", "mail", `"allow_relay"`, `sender = ["x@*"]`), "joe@example.net", "accept"},
		{"allowed to another sender", handler("h", "mail", `"allow_relay"`, `sender = ["y@*"]`), "joe@example.net", "reject"},
		{"allowed, rewritten", handler("g", "connect", `"allow_relay"`) + handler("h", "rcpt", `{ rewrite_recipient = "*@example.com" }`), "joe@mail.postern.net", "accept"},
	} {
		s := begin(t, compileAll(t, relayHead+c.handlers), other)
		s.connect()
		s.helo("x")
		s.auth("x")
		s.mail("x@example.com")
		d, _ := s.rcpt(c.to)
		got := d.Verdict.String()
		if d.Verdict == Accept {
			if end := s.data(content(sample)); end.Verdict != Accept {
				got = end.Verdict.String() + " at data"
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestRejectClients is the truth table of reject_clients with trust and
// override_reject.
func TestRejectClients(t *testing.T) {
	for _, c := range []struct {
		override, trusted, rejected bool
		want                        Verdict
	}{
		{false, false, false, Accept}, {false, false, true, Reject}, {false, true, false, Accept}, {false, true, true, Reject},
		{true, false, false, Accept}, {true, false, true, Reject}, {true, true, false, Accept}, {true, true, true, Accept},
	} {
		e := compileAll(t, relayHead+fmt.Sprintf("reject_clients = [\"192.0.2.66\", \"198.51.100.66\"]\noverride_reject = %v\n", c.override))
		network, host := "198.51.100.", "1"
		if c.trusted {
			network = "192.0.2."
		}
		if c.rejected {
			host = "66"
		}
		d := begin(t, e, network+host).connect()
		if d.Verdict != c.want {
			t.Errorf("%+v: %v", c, d)
		}
		if d.Verdict == Reject {
			want := mail.Decided{Rule: "reject_clients of smtp", Place: "f:8", Step: "reject", Effect: "554 5.7.1 No mail is taken from " + network + host}
			if len(d.Trail) != 1 || d.Trail[0] != want {
				t.Errorf("the trail is %v, want %v", d.Trail, want)
			}
		}
	}
}

// TestRelayAllocations: the check that every recipient goes through costs next to
// nothing.
func TestRelayAllocations(t *testing.T) {
	s := begin(t, compileAll(t, relayHead), "192.0.2.66")
	s.mail("x@example.com")
	to := recipient(t, "joe@example.net")
	if n := testing.AllocsPerRun(100, func() {
		s.recipients = s.recipients[:0]
		s.Rcpt(t.Context(), to)
	}); n > 6 {
		t.Errorf("it allocates %v times", n)
	}
}

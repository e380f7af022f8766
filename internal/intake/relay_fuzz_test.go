package intake

import (
	"strings"
	"testing"
	"testing/fstest"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/smtp"
)

const relayOfTest = `version = 1
hostname = "gate.example"
postmaster = "admin@example.com"
data_dir = "/var/lib/postern"
[[listener]]
name = "test"
address = "127.0.0.1:2525"
relay = "near"
near = ["near.example"]
percent_routing = true
[[handler]]
at = "rcpt"
recipient = ["r-*"]
steps = [{ rewrite_recipient = "*@near.example" }]
[[handler]]
at = "rcpt"
recipient = ["s-*"]
steps = [{ rewrite_recipient = "all-*@*" }]
[[handler]]
at = "data"
sender = ["moved@*"]
steps = [{ rewrite_recipient = "*-moved@*" }]
`

// FuzzRelay names recipients as a client that is in no list: what it gets into the queue
// goes to the postmaster, or to the near domain.
func FuzzRelay(f *testing.F) {
	for _, path := range []string{"<joe@near.example>", "<postmaster>", "<r-joe@gate.example>", "<s-joe%near.example@gate.example>", "<joe@elsewhere.example>", "<joe%elsewhere.example@gate.example>",
		`<"joe@elsewhere.example"@near.example>`, "<@near.example:joe@elsewhere.example>", "<joe%[192.0.2.9]@gate.example>", `<"r-joe%a b"@[127.0.0.1]>`, "<joe@near\u3002example>", "<joe@t\u00fcr.example>", "<joe@elsewhere.example\uff20near.example>"} {
		f.Add("joe@client.example", path)
		f.Add("moved@client.example", path)
	}
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(relayOfTest)}}, "f")
	if err != nil {
		f.Fatal(err)
	}
	local := &Local{Names: []string{"gate.example", "tür.example"}}
	engine, problems := policy.Compile(policy.Options{Config: c, Local: local.Is})
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	f.Fuzz(func(t *testing.T, from, path string) {
		sender, err := mail.ParseAddress(from)
		if err != nil {
			return
		}
		r, wrong := smtp.ParseRcpt("TO:"+path, smtp.Extensions{SMTPUTF8: true, DSN: true})
		if wrong != nil {
			return
		}
		d := newDoor(t, Options{Policy: engine.Begin, Routed: engine.Routed})
		s := d.Session(mail.Origin{Listener: "test", Client: outside, Local: here})
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: sender, UTF8: true}})
		if reply := s.Rcpt(t.Context(), r); !reply.IsZero() {
			return
		}
		s.Content(t.Context(), content(plainText))
		for _, e := range d.entries() {
			for _, x := range e.Deliveries {
				wantInside(t, path, string(x.Destination))
				for _, to := range x.Recipients {
					wantInside(t, path, to.Address.Domain)
				}
			}
		}
	})
}

// wantInside wants a domain to be the postmaster's or the near one.
func wantInside(t *testing.T, path, domain string) {
	t.Helper()
	ascii, err := mail.ASCIIDomain(domain)
	if ascii = strings.ToLower(ascii); err != nil || ascii != "near.example" && ascii != "example.com" {
		t.Errorf("%q is in the queue for %s", path, domain)
	}
}

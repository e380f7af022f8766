package explain

import (
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"postern/internal/config"
	"postern/internal/intake"
	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/policy"
)

// head is a configuration of two listeners, and no handlers.
const head = `version = 1
hostname = "gate.example"
postmaster = "admin@example.com"
data_dir = "/var/lib/postern"
[[listener]]
name = "smtp"
address = "192.0.2.1:2525"
trust = ["10.0.0.0/8"]
reject_clients = ["10.6.6.0/24"]
percent_routing = true
max_size = 100000
max_recipients = 5
[[listener]]
name = "inside"
address = "192.0.2.1:2526"
relay = "everybody"
`

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// server is one with the configuration, whose clock stands.
func server(t *testing.T, text string) *Server {
	t.Helper()
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(text)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	clock := mail.NewManualClock(start)
	local := &intake.Local{Names: []string{"gate.example"}, Postmaster: c.Postmaster}
	e, problems := policy.Compile(policy.Options{Config: c, Local: local.Is, Limits: limit.NewSet(clock), Clock: clock})
	for _, p := range problems {
		t.Error(p)
	}
	if e == nil {
		t.FailNow()
	}
	return &Server{
		Engine: e, Door: intake.Options{Hostname: "gate.example", Local: local, MaxHops: 100, AddMessageID: true, Clock: clock},
		Listeners: c.Listeners, Sendmail: c.Submission,
		Route: func(_ mail.Address, d mail.Destination) string { return "to " + string(d) },
	}
}

func address(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := ParseFrom(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func addresses(t *testing.T, list ...string) []mail.Address {
	t.Helper()
	var all []mail.Address
	for _, s := range list {
		all = append(all, address(t, s))
	}
	return all
}

// client is one with an address and no port of its own.
func client(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 0) }

func walkIt(t *testing.T, s *Server, m *Mail) *Report {
	t.Helper()
	r, err := s.Walk(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

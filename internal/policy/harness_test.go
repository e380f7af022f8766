package policy

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/message"
)

// head is a configuration without handlers. The listener relays for everybody, so
// that nothing but what a test adds decides.
const head = `version = 1
hostname = "mail.postern.net"
data_dir = "/var/lib/postern"
postmaster = "postmaster@postern.org"
[[listener]]
address = "127.0.0.1:2525"
relay = "everybody"
[[listener]]
name = "inside"
address = "127.0.0.1:2526"
relay = "everybody"
`

func load(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(text)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var start = time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC)

// options are those of an engine that has all there is.
func options(c *config.Config) Options {
	clock := mail.NewManualClock(start)
	return Options{Config: c, Lists: testLists{}, Limits: limit.NewSet(clock), BlockLists: testBlockLists{}, Clock: clock,
		Local: func(a mail.Address, _ netip.Addr) bool {
			return a.Domain == "" || mail.SameDomain(a.Domain, "mail.postern.net")
		},
		Nobody: func(a mail.Address) bool { return mail.SameDomain(a.Domain, "relay.test") && !a.IsPostmaster() },
	}
}

// compile makes an engine of head and what follows.
func compile(t testing.TB, text string) *Engine {
	t.Helper()
	return compileAll(t, head+text)
}

func compileAll(t testing.TB, text string) *Engine {
	t.Helper()
	e, problems := Compile(options(load(t, text)))
	for _, p := range problems {
		t.Error(p)
	}
	if len(problems) > 0 {
		t.FailNow()
	}
	return e
}

// handler writes a table [[handler]]; steps is TOML, more are settings as TOML.
func handler(name, at, steps string, more ...string) string {
	return fmt.Sprintf("[[handler]]\nname = %q\nat = %q\nsteps = [%s]\n%s\n", name, at, steps, strings.Join(more, "\n"))
}

type testLists struct{}

func (testLists) Names() []string { return []string{"partners", "friends", "near"} }

func (testLists) Kind(name string) string {
	return map[string]string{"partners": "networks", "friends": "addresses", "near": "domains"}[name]
}

func (testLists) Contains(name, value string) bool {
	return name == "partners" && strings.HasPrefix(value, "192.0.2.") || name == "friends" && value == "joe@example.com" ||
		name == "near" && (value == "listed.example" || value == "xn--bcher-kva.example")
}

type testBlockLists struct{}

func (testBlockLists) Look(_ context.Context, client netip.Addr) Listings {
	if client == netip.MustParseAddr("192.0.2.66") {
		return Listings{Lists: []string{"zen"}, Score: 7, Text: func(context.Context) string { return "192.0.2.66 is listed by zen" }}
	}
	return Listings{}
}

// bytesMessage is a message in memory. It counts how often it was looked through, and its body read.
type bytesMessage struct {
	data      []byte
	inspected int
	bodies    int
	err       error
}

func (m *bytesMessage) Size() int64 { return int64(len(m.data)) }

func (m *bytesMessage) Inspect() (*message.Inspection, error) {
	m.inspected++
	if m.err != nil {
		return nil, m.err
	}
	return message.Inspect(bytes.NewReader(m.data), message.InspectLimits{})
}

func (m *bytesMessage) Body(most int) (string, error) {
	m.bodies++
	_, body, _ := bytes.Cut(m.data, []byte("\r\n\r\n"))
	return string(body[:min(len(body), most)]), m.err
}

func content(text string) *bytesMessage {
	return &bytesMessage{data: []byte(strings.ReplaceAll(text, "\n", "\r\n"))}
}

var address = mailtest.Address

func recipient(t testing.TB, s string) mail.Recipient {
	t.Helper()
	return mail.Recipient{Address: address(t, s)}
}

// origin is a client of the listener smtp.
func origin(client string) mail.Origin {
	return mail.Origin{Listener: "smtp", Session: "s1", Client: netip.AddrPortFrom(netip.MustParseAddr(client), 4711), Local: netip.MustParseAddrPort("192.0.2.1:25")}
}

// talk is a session that a test goes through.
type talk struct {
	t testing.TB
	*Session
	to []Addressee
}

func begin(t testing.TB, e *Engine, client string) *talk {
	return &talk{t: t, Session: e.Begin(origin(client))}
}

func (s *talk) connect() Decision { return s.Connect(context.Background()) }

func (s *talk) helo(name string) Decision {
	o := origin("192.0.2.66")
	if s.Session != nil {
		o = s.origin
	}
	o.Hello = name
	return s.Helo(context.Background(), o)
}

func (s *talk) auth(user string) Decision { return s.authAs(accountOf(user)) }

func (s *talk) authAs(p mail.Principal) Decision { return s.Auth(context.Background(), p) }

// accountOf is an account that may do all, and for which nothing is recorded.
func accountOf(user string) mail.Principal {
	return mail.Principal{Account: mail.Account{Name: user, Source: "directory", Mechanism: "PLAIN"}, Services: mail.Services{Submit: true, Relay: true}}
}

func (s *talk) mail(from string) Decision {
	s.to = nil
	return s.Mail(context.Background(), address(s.t, from), 1000)
}

func (s *talk) rcpt(to string) (Decision, Treatment) {
	r := recipient(s.t, to)
	d, treatment := s.Rcpt(context.Background(), r)
	if d.Verdict == Accept {
		s.to = append(s.to, Addressee{Recipient: r, Treatment: treatment, Trail: d.Trail})
	}
	return d, treatment
}

func (s *talk) data(m Message) Disposition { return s.Data(context.Background(), s.to, m) }

// at goes on to a command, with everything before it, and returns its decision.
func (s *talk) at(c config.Command) Decision {
	last := Decision{}
	for _, next := range config.Commands[:rank(c)+1] {
		switch next {
		case config.AtConnect:
			last = s.connect()
		case config.AtHelo:
			last = s.helo("client.example")
		case config.AtAuth:
			last = s.auth("joe")
		case config.AtMail:
			last = s.mail("joe@example.com")
		case config.AtRcpt:
			last, _ = s.rcpt("ann@example.org")
		case config.AtData:
			last = s.data(content(sample)).Decision
		}
	}
	return last
}

// sample is a message with something for each attribute.
const sample = `From: Joe <joe@example.com>
To: ann@example.org
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
X-Many: one
X-Many: two
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Hello
--b
Content-Type: application/pdf; name="bill.pdf"

x
--b--
`

// rulesOf are the rules of a trail, without repetition.
func rulesOf(trail []mail.Decided) []string {
	var list []string
	for _, d := range trail {
		if !slices.Contains(list, d.Rule) {
			list = append(list, d.Rule)
		}
	}
	return list
}

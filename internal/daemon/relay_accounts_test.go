package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// What is said here of accounts is written from docs/accounts.md, and shares nothing with
// what decides.

// sender is somebody who sends: a client with an account or without.
type sender struct {
	title   string
	client  string
	account string // empty: none
	may     mail.Services
}

var whoSends = []sender{
	{title: "none, not in `trust`", client: "127.0.0.10"},
	{title: "none, in `trust`", client: "127.0.0.11"},
	{title: "`relay`, not in `trust`", client: "127.0.0.10", account: "relays", may: mail.Services{Relay: true}},
	{title: "`submit`, not in `trust`", client: "127.0.0.10", account: "submits", may: mail.Services{Submit: true}},
	{title: "`submit`, in `trust`", client: "127.0.0.11", account: "submits", may: mail.Services{Submit: true}},
	{title: "no service, in `trust`", client: "127.0.0.11", account: "fetches", may: mail.Services{POP: true}},
}

// accountRecipients are those whom they write to.
var accountRecipients = []struct{ title, path string }{
	{"postmaster", "postmaster@gate.example"}, {"this host", "sales@gate.example"}, {"near", "joe@near.example"}, {"elsewhere", "joe@elsewhere.example"},
}

// accountDoor is a listener.
type accountDoor struct {
	auth   config.Auth
	option config.Relay
}

func (d accountDoor) name() string { return string(d.auth) + "-" + string(d.option) }

func accountDoors() []accountDoor {
	var list []accountDoor
	for _, auth := range []config.Auth{"optional", "relay", "relay_and_local", "required"} {
		for _, option := range relayOptions {
			if option != "everybody" || auth == "optional" || auth == "required" { // else it contradicts itself
				list = append(list, accountDoor{auth, option})
			}
		}
	}
	return list
}

// answer is the code of the reply that a sender gets for a recipient.
func (d accountDoor) answer(s *sender, to string) int {
	trusted := s.client == "127.0.0.11"
	everybodys := d.option == "everybody" || to == "near" && (d.option == "near" || d.option == "both")
	switch {
	case s.account != "" && !s.may.Submit && !s.may.Relay:
		return 550
	case s.account == "" && (d.auth == "required" || d.auth == "relay_and_local" && to != "postmaster"):
		return 530
	case to == "postmaster" || to == "this host":
		return 250
	case s.account != "" && (s.may.Relay || everybodys && d.option != "everybody"):
		return 250
	case s.account != "":
		return 550
	case everybodys, d.auth == "optional" && trusted && (d.option == "clients" || d.option == "both"):
		return 250
	}
	return 550
}

// relayingAccounts starts a server with the listeners, and with the accounts.
func relayingAccounts(t *testing.T) *run {
	t.Helper()
	text := fmt.Sprintf(relayHead, filepath.Join(t.TempDir(), "data"), nowhere)
	for i, d := range accountDoors() {
		text += fmt.Sprintf("[[listener]]\nname = %q\naddress = \"127.0.0.1:%d\"\nrelay = %q\nauth = %q\n", d.name(), 10_000+i, string(d.option), string(d.auth)) + relayLists
	}
	c, err := config.Load(os.DirFS(withConfig(t, text)), "postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Listeners {
		c.Listeners[i].Address = netip.MustParseAddrPort("127.0.0.1:0")
	}
	d, err := directory.Open(t.Context(), directory.Options{Dir: directoryDir(c)})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		var errs []error
		for _, s := range whoSends {
			if s.account != "" {
				errs = append(errs, tx.PutUser(directory.User{Login: s.account, Enabled: true, Services: s.may, Addresses: []string{s.account + "@client.example"}}))
			}
		}
		return errors.Join(errs...)
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	return start(t, c)
}

// askAs opens a session at the door of a listener for a sender, and returns the reply for a
// recipient: to MAIL if that refuses, else to RCPT.
func (r *run) askAs(t *testing.T, listener string, s *sender, to string) mail.Reply {
	t.Helper()
	g := r.inForce()
	o := mail.Origin{Listener: listener, Client: netip.AddrPortFrom(netip.MustParseAddr(s.client), 4711), Local: r.at(t, listener), Hello: "client.example", Protocol: smtp.ProtocolESMTP}
	session := r.door(g).Session(o)
	defer session.End()
	ctx := t.Context()
	for _, reply := range []mail.Reply{session.Begin(ctx), session.Hello(ctx, o)} {
		if !reply.IsZero() {
			t.Fatal(reply)
		}
	}
	from := mail.Address{Local: "x", Domain: "client.example"}
	if s.account != "" {
		from.Local = s.account
		who, known := g.account(s.account)
		if reply := session.Auth(ctx, who); !known || !reply.IsZero() {
			t.Fatalf("%s is known: %t; %s", s.account, known, reply)
		}
	}
	if reply := session.Mail(ctx, smtp.Mail{Envelope: mail.Envelope{From: from}}); !reply.IsZero() {
		return reply
	}
	a, err := mail.ParseAddress(to)
	if err != nil {
		t.Fatal(err)
	}
	if reply := session.Rcpt(ctx, smtp.Rcpt{Recipient: mail.Recipient{Address: a}}); !reply.IsZero() {
		return reply
	}
	return mail.NewReply(250, "2.1.5", "Ok") // the engine's own
}

// accountMatrix compares what is answered at each door with the rules, and notes it.
func (r *run) accountMatrix(t *testing.T, observed seen) {
	t.Helper()
	for _, d := range accountDoors() {
		for i := range whoSends {
			s := &whoSends[i]
			for _, to := range accountRecipients {
				reply := r.askAs(t, d.name(), s, to.path)
				if want := d.answer(s, to.title); reply.Code != want {
					t.Errorf("%+v, %s to %s: %s, want %d", d, s.title, to.title, reply, want)
				}
				observed.note(fmt.Sprintf("%s %s %s", d.name(), s.title, to.title), reply)
			}
		}
	}
}

// accountTable is the part of docs/relay.md with accounts, for two options of relay.
func accountTable(b *strings.Builder, s seen) {
	b.WriteString("\n## With accounts\n\n")
	cells := []string{"`auth`", "`relay`", "account, client"}
	for _, to := range accountRecipients {
		cells = append(cells, to.title)
	}
	head(b, cells...)
	for _, d := range accountDoors() {
		if d.option != "clients" && d.option != "both" {
			continue
		}
		for i := range whoSends {
			cells := []string{"`" + string(d.auth) + "`", "`" + string(d.option) + "`", whoSends[i].title}
			for _, to := range accountRecipients {
				cells = append(cells, s.cell("%s %s %s", d.name(), whoSends[i].title, to.title))
			}
			row(b, cells...)
		}
	}
}

// TestSendAsAtTheDoor: an account of the directory sends as itself and as those whose
// delegate it is, whatever else is recorded of these.
func TestSendAsAtTheDoor(t *testing.T) {
	r := relayingAccounts(t)
	err := r.directory.Change(context.Background(), "test", func(tx *directory.Tx) error {
		return errors.Join(tx.PutUser(directory.User{Login: "boss", Addresses: []string{"boss@client.example", "*@sales.example"}}),
			tx.PutUser(directory.User{Login: "relays", Enabled: true, Services: mail.Services{Relay: true}, Addresses: []string{"relays@client.example"}, Delegates: []string{"boss"}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	g := r.inForce()
	who, known := g.account("RELAYS")
	if !known {
		t.Fatal("the account is not known")
	}
	if _, known := g.account("boss"); known {
		t.Error("an account that is not enabled may log in")
	}
	session := r.door(g).Session(mail.Origin{Listener: "optional-clients", Client: netip.MustParseAddrPort("127.0.0.10:4711")})
	session.Auth(t.Context(), who)
	for from, want := range map[string]int{"relays@client.example": 0, "Boss@Client.example": 0, "any@sales.example": 0, "x@client.example": 553, "submits@client.example": 553} {
		a, err := mail.ParseAddress(from)
		if err != nil {
			t.Fatal(err)
		}
		if reply := session.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: a}}); reply.Code != want {
			t.Errorf("%s: %s, want %d", from, reply, want)
		}
	}
	r.end(t)
}

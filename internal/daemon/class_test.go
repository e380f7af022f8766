package daemon

import (
	"log/slog"
	"net/netip"
	"testing"

	"postern/internal/directory"
	"postern/internal/mail"
)

// TestClassOf: the user's record, the message, the listener, in this order; and a message
// chooses only where it may, and its client is known.
func TestClassOf(t *testing.T) {
	c := settings(t, nowhere)
	c.Listeners[0].Name, c.Listeners[0].Class = "in", mail.Urgent
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir(), Clock: mail.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	err = d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		for login, class := range map[string]string{"news": "Bulk", "joe": ""} {
			if err := tx.PutUser(directory.User{Login: login, Enabled: true, Class: class}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g := newGraph(c, mail.SystemClock{})
	g.lasting.directory = func() *directory.Directory { return d }
	if err := g.load(); err != nil {
		t.Fatal(err)
	}
	account := func(name, source string) *mail.Account { return &mail.Account{Name: name, Source: source} }
	urgent, bulk := mail.Urgent, mail.Bulk
	for _, x := range []struct {
		name string
		o    mail.Origin
		own  *mail.Class
		want mail.Class
	}{
		{"of the listener", mail.Origin{Listener: "in"}, nil, mail.Urgent},
		{"of another", mail.Origin{Listener: "sendmail"}, nil, mail.Normal},
		{"of the message", mail.Origin{Listener: "in"}, &bulk, mail.Bulk},
		{"of the user", mail.Origin{Listener: "in", Account: account("news", directory.Source)}, &urgent, mail.Bulk},
		{"of a user without one", mail.Origin{Listener: "in", Account: account("joe", directory.Source)}, nil, mail.Urgent},
		{"of a user of another source", mail.Origin{Listener: "in", Account: account("news", "ldap")}, nil, mail.Urgent},
	} {
		if got := g.class(&x.o, x.own); got != x.want {
			t.Errorf("%s: %s, want %s", x.name, got, x.want)
		}
	}
	inside, outside := netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("203.0.113.9:9")
	for _, allowed := range []bool{false, true} {
		c.Message.ClassFromHeader = allowed
		for _, x := range []struct {
			name string
			o    mail.Origin
			want bool
		}{
			{"in trust", mail.Origin{Listener: "in", Client: inside}, true},
			{"a stranger", mail.Origin{Listener: "in", Client: outside}, false},
			{"an account", mail.Origin{Listener: "in", Client: outside, Account: account("joe", directory.Source)}, true},
			{"a program of this host", mail.Origin{Listener: "sendmail", User: &mail.User{Name: "root"}}, true},
		} {
			if got := g.ownClass(&x.o); got != (x.want && allowed) {
				t.Errorf("%s, allowed %v: %v", x.name, allowed, got)
			}
		}
	}
}

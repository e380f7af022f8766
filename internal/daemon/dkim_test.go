package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/dkim"
	"postern/internal/mail"
)

// TestOurs: whose mail is signed at a listener.
func TestOurs(t *testing.T) {
	inside, outside := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("203.0.113.1:1")
	account := &mail.Account{}
	for _, c := range []struct {
		name   string
		change func(*config.Listener)
		origin mail.Origin
		want   bool
	}{
		{"a client that is trusted", nil, mail.Origin{Client: inside}, true},
		{"a stranger", nil, mail.Origin{Client: outside}, false},
		{"an account", nil, mail.Origin{Client: outside, Account: account}, true},
		{"a stranger who may relay", func(l *config.Listener) { l.Relay = config.RelayEverybody }, mail.Origin{Client: outside}, true},
		{"a stranger who may relay where there are accounts", func(l *config.Listener) { l.Relay, l.Auth = config.RelayEverybody, config.AuthOptional }, mail.Origin{Client: outside}, false},
		{"a stranger who may send to near domains", func(l *config.Listener) { l.Relay = config.RelayNear }, mail.Origin{Client: outside}, false},
		{"everybody", func(l *config.Listener) { l.Sign = config.SignEverybody }, mail.Origin{Client: outside}, true},
		{"nobody", func(l *config.Listener) { l.Sign = config.SignNobody }, mail.Origin{Client: inside, Account: account}, false},
		{"a program of this host", nil, mail.Origin{Listener: "sendmail"}, true},
		{"a listener that is gone", nil, mail.Origin{Listener: "gone", Client: inside}, false},
	} {
		conf := settings(t, "127.0.0.1:25")
		if c.change != nil {
			c.change(&conf.Listeners[0])
		}
		g := newGraph(conf, mail.SystemClock{})
		if err := g.load(); err != nil {
			t.Fatal(c.name, err)
		}
		if c.origin.Listener == "" {
			c.origin.Listener = conf.Listeners[0].Name
		}
		if got := g.ours(&c.origin); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestSigningSettings: the settings say by which keys, and what is wrong with them is told.
func TestSigningSettings(t *testing.T) {
	conf := settings(t, "127.0.0.1:25")
	conf.DKIM = config.DKIM{Sign: []string{"bücher.example"}, Headers: []string{"X-A"}, Subdomain: true}
	g := newGraph(conf, mail.SystemClock{})
	if err := g.load(); err != nil {
		t.Fatal(err)
	}
	if s := g.signing; strings.Join(s.Domains, " ") != "xn--bcher-kva.example" || !s.Parents || s.Envelope || len(s.Fields) != 1 {
		t.Errorf("%+v", s)
	}
	if w := g.keyWarnings(); len(w) != 1 || !strings.Contains(w[0], "mail of xn--bcher-kva.example is deferred") {
		t.Errorf("without a key: %q", w)
	}
	keys, err := Maintenance{Config: conf}.SigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	if _, err := keys.AddKey(t.Context(), dkim.KeyOrder{Domain: "bücher.example", Selector: "a", Algorithm: dkim.Ed25519, Now: true}); err != nil {
		t.Fatal(err)
	}
	if err := g.keys.Look(); err != nil {
		t.Fatal(err)
	}
	if w := g.keyWarnings(); len(w) != 0 {
		t.Errorf("with a key: %q", w)
	}
	conf.DKIM.Headers = []string{"Received"}
	if err := newGraph(conf, mail.SystemClock{}).loadSigning(); err == nil || !strings.Contains(err.Error(), `"Received" changes on the way`) {
		t.Errorf("Received: %v", err)
	}
}

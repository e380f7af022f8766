package senders

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/directory"
	"postern/internal/intake"
	"postern/internal/mail"
)

func (v *inventory) facts() (texts []string) {
	v.t.Helper()
	facts, err := v.Directory.NextFacts(v.t.Context(), 0, 100)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, f := range facts {
		texts = append(texts, f.Actor+": "+f.Text)
	}
	return texts
}

func withCertificate(m intake.Sent, verified bool) intake.Sent {
	m.Origin.TLS = &mail.TLS{Version: "TLS 1.3", Verified: verified, Certificate: &mail.Certificate{Fingerprint: strings.Repeat("ab", 32), Names: []string{"host.example"}}}
	return m
}

func TestAssignToUser(t *testing.T) {
	v := newInventory(t, Options{})
	v.user(directory.User{Login: "scanner", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	v.user(directory.User{Login: "other"})
	v.Sent(sentBy("192.0.2.1"))
	v.Sent(sentBy("2001:db8::1"))
	v.Sent(withCertificate(sentBy("192.0.2.2"), false))
	certificate := "certificate:" + strings.Repeat("ab", 32)
	login, owner := "Scanner", "print room"
	for _, source := range []string{"address:192.0.2.1", "address:2001:DB8:0::1", strings.Replace(certificate, "ab", "AB", 1)} {
		if s := v.assign(source, Ownership{User: &login, Owner: &owner}); s.User != "scanner" || s.Owner != owner || s.Unassigned() {
			t.Errorf("%s is %+v", source, s)
		}
		v.assign(source, Ownership{User: &login}) // is nothing new
	}
	u, _ := v.Directory.User("scanner")
	networks := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::1/128")}
	if !slices.Equal(u.Networks, networks) || !slices.Equal(u.Certificates, []string{"sha256:" + strings.Repeat("ab", 32)}) {
		t.Errorf("the user has %v and %v", u.Networks, u.Certificates)
	}
	if u, known := v.Directory.UserByAddress(netip.MustParseAddr("192.0.2.1")); !known || u.Login != "scanner" {
		t.Error("the address leads to nobody")
	}
	if got, want := v.facts()[2:4], []string{
		"ann: user scanner: networks 198.51.100.0/24 -> 198.51.100.0/24 192.0.2.1/32",
		"ann: sender address:192.0.2.1: owner none -> print room",
	}; !slices.Equal(got, want) {
		t.Errorf("the facts are %q, want %q", got, want)
	}
	if n := len(v.facts()); n != 2+3*2 {
		t.Errorf("there are %d facts", n)
	}

	// All of it or nothing.
	v.Sent(withAccount(sentBy("192.0.2.9"), "PLAIN"))
	before := v.facts()
	note, another, nobody := "lost", "other", "nobody"
	for _, c := range []struct {
		source, user, want string
	}{
		{"address:192.0.2.1", another, "192.0.2.1"},
		{"address:192.0.2.1", nobody, "there is no user nobody"},
		{"account:joe", another, "its mail is that of an account"},
		{"address:192.0.2.77", another, "there is no sender address:192.0.2.77"},
		{"192.0.2.1", another, `no source: "192.0.2.1"; write account:LOGIN`},
		{"address:here", another, `no source: "address:here": ParseAddr`},
	} {
		if _, err := v.Assign(t.Context(), "ann", c.source, Ownership{User: &c.user, Note: &note}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v, want %q", c.source, c.user, err, c.want)
		}
	}
	if !slices.Equal(v.facts(), before) || slices.ContainsFunc(v.List(Filter{}), func(s Sender) bool { return s.Note != "" }) {
		t.Error("something was done nevertheless")
	}
}

func withAccount(m intake.Sent, mechanism string) intake.Sent {
	m.Origin.Account = &mail.Account{Name: "joe", Source: "directory", Mechanism: mechanism}
	return m
}

// A name in a certificate says whose it is only if the certificate was verified.
func TestUserOfCertificate(t *testing.T) {
	v := newInventory(t, Options{})
	v.user(directory.User{Login: "host", Certificates: []string{"dns:host.example"}})
	certificate := "certificate:" + strings.Repeat("ab", 32)
	v.Sent(withCertificate(sentBy("192.0.2.2"), false))
	if s := v.get(certificate); s.User != "" || s.Certificate.Names != nil || !s.Unassigned() {
		t.Errorf("it is taken for %q, with %v", s.User, s.Certificate.Names)
	}
	v.Sent(withCertificate(sentBy("192.0.2.2"), true))
	for range 2 {
		if s := v.get(certificate); s.User != "host" {
			t.Errorf("it is taken for %q", s.User)
		}
		v.reopen()
	}
}

// Nothing is left of what is forgotten, also if it was to be written.
func TestForget(t *testing.T) {
	v := newInventory(t, Options{})
	v.Sent(sentBy("192.0.2.1"))
	v.flush()
	v.Sent(sentBy("192.0.2.1"))
	v.Sent(sentBy("192.0.2.2"))
	for range 2 {
		err := v.Forget(t.Context(), "address:192.0.2.1")
		if v.get("address:192.0.2.2").Messages != 1 {
			t.Error("another is forgotten")
		}
		if _, there := v.Get("address:192.0.2.1"); !errors.Is(there, directory.ErrNotFound) {
			t.Errorf("it is still there: %v", there)
		}
		if err != nil && !errors.Is(err, directory.ErrNotFound) {
			t.Error(err)
		}
	}
	v.reopen()
	if got := v.names(Filter{}); !slices.Equal(got, []string{"address:192.0.2.2"}) {
		t.Errorf("there are %v", got)
	}
	if len(v.facts()) != 0 {
		t.Errorf("there are facts: %q", v.facts())
	}
}

func TestRisks(t *testing.T) {
	secure := func(version, cipher string) *mail.TLS { return &mail.TLS{Version: version, Cipher: cipher} }
	for _, c := range []struct {
		name   string
		want   []Habit
		change func(m *intake.Sent)
	}{
		{"EHLO in clear", nil, func(*intake.Sent) {}},
		{"HELO", []Habit{HabitHELO}, func(m *intake.Sent) { m.Origin.Protocol = "SMTP" }},
		{"TLS 1.0", []Habit{HabitTLS10}, func(m *intake.Sent) { m.Origin.TLS = secure("TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA") }},
		{"TLS 1.1", []Habit{HabitTLS11}, func(m *intake.Sent) { m.Origin.TLS = secure("TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA") }},
		{"TLS 1.2", nil, func(m *intake.Sent) { m.Origin.TLS = secure("TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256") }},
		{"a weak cipher suite", []Habit{HabitCipher}, func(m *intake.Sent) { m.Origin.TLS = secure("TLS 1.2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA") }},
		{"bare newlines", []Habit{HabitBareNewline}, func(m *intake.Sent) { m.Repaired = true }},
		{"PLAIN in clear", []Habit{HabitClearAuth}, func(m *intake.Sent) { *m = withAccount(*m, "PLAIN") }},
		{"a token in clear", []Habit{HabitClearAuth}, func(m *intake.Sent) { *m = withAccount(*m, "XOAUTH2") }},
		{"SCRAM in clear", nil, func(m *intake.Sent) { *m = withAccount(*m, "SCRAM-SHA-256") }},
		{"an address in clear", nil, func(m *intake.Sent) { *m = withAccount(*m, "address") }},
		{"PLAIN in TLS", nil, func(m *intake.Sent) {
			*m = withAccount(*m, "PLAIN")
			m.Origin.TLS = secure("TLS 1.3", "TLS_AES_128_GCM_SHA256")
		}},
		{"an expired certificate", []Habit{CertificateExpired}, func(m *intake.Sent) { *m = expires(*m, start) }},
		{"one that expires soon", []Habit{CertificateExpires}, func(m *intake.Sent) { *m = expires(*m, start.Add(expiresSoon-1)) }},
		{"one that lasts", nil, func(m *intake.Sent) { *m = expires(*m, start.Add(expiresSoon)) }},
	} {
		v := newInventory(t, Options{})
		m := sentBy("192.0.2.1")
		c.change(&m)
		v.Sent(m)
		risks := func(f Filter) (got []Habit) {
			for _, s := range v.List(f) {
				for _, r := range s.Risks {
					got = append(got, r.Habit)
				}
			}
			return got
		}
		if got := risks(Filter{AtRisk: true}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		v.clock.Advance(riskFor + time.Second)
		if got := risks(Filter{}); slices.Contains(got, HabitHELO) || m.Repaired && got != nil {
			t.Errorf("%s: what was not seen for long is still told: %v", c.name, got)
		}
	}
}

func expires(m intake.Sent, at time.Time) intake.Sent {
	m.Origin.TLS = &mail.TLS{Version: "TLS 1.3", Certificate: &mail.Certificate{Fingerprint: "ab", Expires: at}}
	return m
}

func TestList(t *testing.T) {
	v := newInventory(t, Options{})
	v.user(directory.User{Login: "known", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.3/32")}})
	for i, m := range []struct {
		client     string
		messages   int
		recipients int
		octets     int64
	}{{"192.0.2.1", 3, 1, 10}, {"192.0.2.2", 1, 9, 20}, {"192.0.2.3", 2, 2, 100}} {
		s := sentBy(m.client)
		s.At, s.Recipients, s.Octets = start.Add(time.Duration(-i)*time.Hour), m.recipients, m.octets
		for range m.messages {
			v.Sent(s)
		}
	}
	account := withAccount(sentBy("192.0.2.4"), "PLAIN")
	account.At, account.Recipients, account.Octets = start.Add(-3*time.Hour), 0, 0
	account.From.Domain = "special.example"
	v.Sent(account)
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "1 3 joe 2"},
		{Filter{Order: ByRecipients}, "2 3 1 joe"},
		{Filter{Order: ByOctets}, "3 1 2 joe"},
		{Filter{Order: ByLast}, "1 2 3 joe"},
		{Filter{Order: ByFirst}, "1 2 3 joe"},
		{Filter{Order: BySource}, "joe 1 2 3"},
		{Filter{Order: ByLast, Limit: 2}, "1 2"},
		{Filter{Unassigned: true}, "1 2"},
		{Filter{AtRisk: true}, "joe"},
		{Filter{Since: start.Add(-time.Hour)}, "1 2"},
		{Filter{New: start.Add(-2 * time.Hour), Unassigned: true, Limit: 1}, "1"},
		{Filter{Match: "SPECIAL"}, "joe"},
		{Filter{Match: "known"}, "3"},
		{Filter{Match: "nowhere"}, ""},
	} {
		var got []string
		for _, name := range v.names(c.filter) {
			got = append(got, strings.TrimPrefix(strings.TrimPrefix(name, "address:192.0.2."), "account:"))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.filter, got, c.want)
		}
	}
}

// A message like the last one of its source takes no memory.
func TestSentAllocates(t *testing.T) {
	v := newInventory(t, Options{})
	m := withAccount(sentBy("192.0.2.1"), "PLAIN")
	m.Origin.TLS = &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Certificate: &mail.Certificate{Fingerprint: "ab", Names: []string{"x"}}}
	v.Sent(m)
	if n := testing.AllocsPerRun(100, func() { v.Sent(m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// All that can be done is done at a time: for the race detector.
func TestConcurrent(t *testing.T) {
	v := newInventory(t, Options{MaxSources: 8, MaxAssigned: 4})
	v.user(directory.User{Login: "scanner"})
	login, note := "scanner", "x"
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 200 {
				m := sentBy(netip.AddrFrom4([4]byte{192, 0, 2, byte((i*j + j) % 16)}).String())
				m.From.Domain = strings.Repeat("x", j%30+1) + ".example"
				v.Sent(m)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			v.List(Filter{Match: "x"})
			if err := v.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for i := range 20 {
			name := "address:192.0.2." + string('0'+byte(i%10))
			_, err := v.Assign(t.Context(), "ann", name, Ownership{User: &login, Note: &note})
			if err != nil && !errors.Is(err, directory.ErrNotFound) && directory.ProblemsOf(err) == nil {
				t.Error(err)
			}
			if err := v.Forget(t.Context(), name); err != nil && !errors.Is(err, directory.ErrNotFound) {
				t.Error(err)
			}
		}
	})
	all.Wait()
	before := v.names(Filter{Order: BySource})
	if len(before) > 8 {
		t.Errorf("there are %d sources", len(before))
	}
	v.reopen()
	if after := v.names(Filter{Order: BySource}); !slices.Equal(before, after) {
		t.Errorf("before a restart there are %v, after it %v", before, after)
	}
}

package auth

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/directory"
	"postern/internal/mail"
)

// A user of one source whom it does not let in is not looked for in the next one, by
// password or by certificate: to disable him would be of no use.
func TestDisabledEndsTheSearch(t *testing.T) {
	w := newWorld(t)
	print := strings.Repeat("ab", 32)
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir(), Clock: mail.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	set := func(enabled bool) {
		err := d.Change(t.Context(), "test", func(tx *directory.Tx) error {
			return tx.PutUser(directory.User{Login: joe, Enabled: enabled, Certificates: []string{"sha256:" + print}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	own := NewDirectorySource(d, w.auth.Hasher, mail.SystemClock{}, nil)
	w.auth.Options.Sources[directory.Source] = own.Methods()
	w.auth.Listeners = map[string]Listener{"in": {Sources: []string{directory.Source, "people"}}}
	w.at.Sources = from(directory.Source, "people")
	w.at.Origin = mail.Origin{Listener: "in", Client: netip.AddrPortFrom(home, 1), TLS: &mail.TLS{
		Verified: true, Certificate: &mail.Certificate{Subject: joe, Fingerprint: print},
	}}
	for _, enabled := range []bool{true, false} {
		set(enabled)
		want := map[bool]string{true: "joe of directory", false: ""}[enabled]
		who, known, err := w.auth.Implied(t.Context(), w.at.Origin)
		if got := strings.TrimSuffix(who.Name+" of "+who.Source, " of "); got != want || known != enabled || err != nil {
			t.Errorf("enabled %v: implied: %q, %v, %v", enabled, got, known, err)
		}
		if got := w.ended(External, ""); strings.HasPrefix(got, "235") != enabled || enabled && !strings.Contains(got, want) {
			t.Errorf("enabled %v: EXTERNAL: %s", enabled, got)
		}
	}
	if got := w.ended(Plain, "\x00joe\x00"+password); got != bad {
		t.Errorf("PLAIN: %s", got)
	}
	w.at.Origin.TLS.Certificate.Fingerprint = strings.Repeat("cd", 32)
	if who, known, err := w.auth.Implied(t.Context(), w.at.Origin); !known || who.Source != "people" || err != nil {
		t.Errorf("a certificate of the other source: %+v, %v, %v", who, known, err)
	}
}

// Servers of LDAP have users whose names can be no logins of the directory, in which the
// bans are: those are kept under a name that can.
func TestBanOfNameWithSpace(t *testing.T) {
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir(), Clock: mail.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := newWorld(t)
	settings := someSettings
	settings.Delay, settings.AccountBanAfter = 0, 3
	w.auth.Guard = NewGuard(GuardOptions{Bans: d, Clock: mail.SystemClock{}, Logger: logTo(w.log)}, settings)
	for _, name := range []string{"Joe Doe", strings.Repeat("ü ", 80), "joe\u00a0x"} {
		for i := range 4 {
			w.at.Origin.Client = netip.AddrPortFrom(stranger(i), 1)
			got := w.ended(Plain, "\x00"+name+"\x00guess "+string(rune('a'+i)))
			if want := map[bool]string{true: "454", false: "535"}[i == 3]; got[:3] != want {
				t.Errorf("%.10s: guess %d: %s", name, i, got)
			}
		}
	}
	if strings.Contains(w.log.String(), "cannot ban") || d.Counts().Bans != 3 {
		t.Errorf("%d bans\n%s", d.Counts().Bans, w.log.String())
	}
}

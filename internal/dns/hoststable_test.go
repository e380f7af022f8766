package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

// TestHosts: the file goes before DNS, is read again when it changes, and what it does not
// have is asked of DNS.
func TestHosts(t *testing.T) {
	var behind Memory
	behind.Set("a.test", netip.MustParseAddr("192.0.2.1"))
	behind.Set("b.test", netip.MustParseAddr("192.0.2.2"))
	behind.SetMX("a.test", MX{Host: "b.test"})
	file := filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("10.0.0.1 A.test  inside # comment\n2001:db8::1 a.test\n")
	clock := mail.NewManualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	hosts := NewHosts(file, clock, &behind)
	ask := func(name string) string {
		list, err := hosts.LookupAddr(t.Context(), name)
		text := ""
		for _, ip := range list {
			text += ip.String() + " "
		}
		if err != nil {
			return err.Error()
		}
		return text
	}
	got := []string{ask("a.TEST."), ask("inside"), ask("b.test")}
	write("10.0.0.22 inside\n")
	clock.Advance(recheck)
	got = append(got, ask("a.test"), ask("inside"), ask("none.test"))
	want := []string{"10.0.0.1 2001:db8::1 ", "10.0.0.1 ", "192.0.2.2 ", "192.0.2.1 ", "10.0.0.22 ", "not in DNS: no such name: none.test"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if mx, err := hosts.LookupMX(t.Context(), "a.test"); err != nil || len(mx) != 1 {
		t.Error("MX records are not asked of DNS", mx, err)
	}
}

func TestCheckHosts(t *testing.T) {
	for text, want := range map[string]struct {
		line  int
		wrong string
	}{
		"":                            {},
		"# comment\n\n10.0.0.1 a b\n": {},
		"10.0.0.1 a\n10.0.0.2\n":      {2, "has an address and no name"},
		"a 10.0.0.1\n":                {1, `"a" is not an IP address`},
		"10.0.0.1 a\n10.0.0.2 b..\n":  {2, `"b." is not the name of a host`},
	} {
		if line, wrong := CheckHosts([]byte(text)); line != want.line || wrong != want.wrong {
			t.Errorf("%q: line %d %s, want %d %s", text, line, wrong, want.line, want.wrong)
		}
	}
}

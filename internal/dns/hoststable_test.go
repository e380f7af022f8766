package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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
	if e := hosts.Look(); e == nil || e.String() != "table of hosts ("+file+"): 1 names, were 2" {
		t.Errorf("told: %v", e)
	}
	got = append(got, ask("a.test"), ask("inside"), ask("none.test"))
	want := []string{"10.0.0.1 2001:db8::1 ", "10.0.0.1 ", "192.0.2.2 ", "192.0.2.1 ", "10.0.0.22 ", "not in DNS: no such name: none.test"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if mx, err := hosts.LookupMX(t.Context(), "a.test"); err != nil || len(mx) != 1 {
		t.Error("MX records are not asked of DNS", mx, err)
	}
}

// TestHostsFail: a file that cannot be used leaves all as it was, also of the lines that are good;
// that is told once, and so is the end of it.
func TestHostsFail(t *testing.T) {
	var behind Memory
	file := filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clock := mail.NewManualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	write("10.0.0.1 a.test\n")
	hosts, start := NewHosts(file, clock, &behind), clock.Now()
	if since, err := hosts.Stale(); err != nil {
		t.Error(since, err)
	}
	fails := func(want string) {
		t.Helper()
		if e := hosts.Look(); e == nil || e.Err == nil || e.Before != 1 || !strings.Contains(e.String(), want) {
			t.Errorf("told: %v, want %s", e, want)
		}
		if e := hosts.Look(); e != nil {
			t.Errorf("told again: %v", e)
		}
		if list, err := hosts.LookupAddr(t.Context(), "a.test"); err != nil || list[0] != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("it is at %v, %v", list, err)
		}
		if since, err := hosts.Stale(); err == nil || !since.Equal(start) {
			t.Errorf("stale since %v, %v", since, err)
		}
	}
	write("10.0.0.2 a.test\n10.0.0.3\n")
	fails(file + ":2: has an address and no name")
	clock.Advance(time.Hour)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	fails("no such file")
	write("10.0.0.1 a.test\n")
	if e := hosts.Look(); e == nil || e.Err != nil {
		t.Errorf("that it is good again: %v", e)
	}
	if _, err := hosts.Stale(); err != nil {
		t.Error(err)
	}
}

func TestCheckHosts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	for text, want := range map[string]string{
		"":                            "",
		"# comment\n\n10.0.0.1 a b\n": "",
		"10.0.0.1 a\n10.0.0.2\n":      file + ":2: has an address and no name",
		"a 10.0.0.1\n":                file + `:1: "a" is not an IP address`,
		"10.0.0.1 a\n10.0.0.2 b..\n":  file + `:2: "b." is not the name of a host`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := CheckHosts(file, time.Now()); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

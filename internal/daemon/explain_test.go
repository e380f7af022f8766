package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/mail"
)

// TestExplainer: it needs neither certificates nor secrets, looks at the room on the
// disk, and makes nothing.
func TestExplainer(t *testing.T) {
	c := settings(t, nowhere)
	c.Listeners[0].TLSCertificate, c.Listeners[0].TLSKey = "/nowhere.crt", "/nowhere.key"
	c.Credentials.KeyFile, c.Delivery.SmarthostCredential = "/nowhere", "relay"
	from, err := mail.ParseAddress("joe@a.example")
	if err != nil {
		t.Fatal(err)
	}
	m := &explain.Mail{Client: netip.MustParseAddrPort("127.0.0.1:0"), From: from, To: []mail.Address{from}}
	ask := func() string {
		t.Helper()
		s, err := Explainer(c, false)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Walk(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return r.Summary()
	}
	if got := ask(); !strings.HasPrefix(got, "accepted, to go by ") || !strings.Contains(got, nowhere) {
		t.Error(got)
	}
	if _, err := os.Stat(c.DataDir); err == nil {
		t.Error("explain made data_dir")
	}
	if err := os.Mkdir(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.Pressure.MinFreeSpace = 1 << 62
	if got := ask(); got != "refused at MAIL: 452 4.3.1 Insufficient system storage, please try again later, by the server itself" {
		t.Error(got)
	}
	if entries, err := os.ReadDir(c.DataDir); err != nil || len(entries) > 0 {
		t.Errorf("in data_dir are %v, %v", entries, err)
	}
	c.Lists = []config.List{{Name: "none", File: filepath.Join(c.DataDir, "none"), Kind: "networks"}}
	if _, err := Explainer(c, false); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a list that is not there: %v", err)
	}
}

// TestPolicyTests: patterns stand for the files that match, in order, each once; a
// path without one for itself.
func TestPolicyTests(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.toml", "a.toml", "c.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Default()
	for _, p := range []string{"*.toml", "none-*.toml", "a.toml", "not-there.toml"} {
		c.PolicyTests = append(c.PolicyTests, filepath.Join(dir, p))
	}
	files, err := PolicyTests(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if diff := cmp.Diff([]string{"a.toml", "b.toml", "not-there.toml"}, files); diff != "" {
		t.Error(diff)
	}
}

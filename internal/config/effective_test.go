package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

// TestEffectiveLoads: what is written loads, and means the same.
func TestEffectiveLoads(t *testing.T) {
	for name, text := range map[string]string{"minimal": minimal, "everything": everything} {
		c := load(t, text)
		written := WriteEffective(c.Effective())
		again := load(t, written)
		again.Include = c.Include // what was included is there already
		if c.AdminSocket == "" {
			again.AdminSocket = "" // its default is written
		}
		if diff := cmp.Diff(c, again, compareValues, ignorePlace); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", name, diff, written)
		}
	}
}

func TestEffective(t *testing.T) {
	c, err := Load(texts(
		"f", "include = [\"d/*\"]\n"+minimal,
		"d/a", "[[listener]]\nname = \"second\"\naddress = \"[::1]:1\"\n[admin]\naddress = \"127.0.0.1:8025\"\ntokens = \"env:TOKENS\"\n",
	), "f")
	if err != nil {
		t.Fatal(err)
	}
	list := c.Effective()
	want := len(settings) + len(findSection("listener").settings())
	for i := range sections {
		if s := &sections[i]; s.optional() {
			want -= len(s.settings())
		}
	}
	if len(list) != want {
		t.Errorf("%d settings, want %d", len(list), want)
	}
	find := func(key, name string) Effective {
		for _, e := range list {
			if e.Key == key && e.Name == name {
				return e
			}
		}
		t.Fatalf("%s of %q is not there", key, name)
		return Effective{}
	}
	for _, want := range []Effective{
		{Key: "hostname", Value: `"mail.example.com"`, Place: mail.Place{File: "f", Line: 3, Column: 1}, Effect: AtReload},
		{Key: "admin_socket", Value: `"/var/lib/postern/admin.sock"`, Default: "admin.sock in data_dir", Effect: AtRestart},
		{Key: "dns.servers", Default: "those of /etc/resolv.conf, which is read again when it changes", Effect: AtReload},
		{Key: "listener.name", Name: "smtp", Value: `"smtp"`, Effect: AtReload},
		{Key: "listener.name", Name: "second", Value: `"second"`, Place: mail.Place{File: "d/a", Line: 2, Column: 1}, IncludedFrom: "f", Effect: AtReload},
		{Key: "admin.tokens", Value: `"env:TOKENS"`, Place: mail.Place{File: "d/a", Line: 6, Column: 1}, IncludedFrom: "f", Secret: SecretEnv, Effect: AtRestart},
	} {
		if diff := cmp.Diff(want, find(want.Key, want.Name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Key, diff)
		}
	}
	text := WriteEffective(list)
	for _, want := range []string{
		"\nhostname = \"mail.example.com\"              # f:3:1\n",
		"\n# include = [\"d/*\"]                        # f:1:1\n",
		"\n# servers: those of /etc/resolv.conf, ",
		"\ntokens = \"env:TOKENS\"                      # d/a:6:1, included from f; the secret is in the environment, and not shown\n",
		"\nmax_size = \"50MiB\"                         # default\n",
	} {
		if !strings.Contains("\n"+text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestValueInJSON(t *testing.T) {
	for v, want := range map[Value]string{
		`"50MiB"`:     `"50MiB"`,
		`7`:           `7`,
		`true`:        `true`,
		`["a", "b"]`:  `["a","b"]`,
		`"a\u00a0b"`:  `"a\u00a0b"`,
		`"/tmp/\x01"`: `"\"/tmp/\\x01\""`, // an escape that JSON has not
		``:            `""`,
	} {
		if got, err := json.Marshal(v); string(got) != want || err != nil {
			t.Errorf("%s is %s in JSON, %v; want %s", v, got, err, want)
		}
	}
}

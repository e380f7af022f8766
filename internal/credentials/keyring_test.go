package credentials

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/directory"
	"postern/internal/mail"
)

const secretPassword = "a-password-of-the-test"

func passwordDraft(name string, hosts ...string) Draft {
	return Draft{Record: directory.Credential{Name: name, Kind: directory.CredentialPassword, User: "joe", Hosts: hosts},
		Secrets: map[string]mail.Secret{fieldPassword: secretPassword}}
}

// TestSeal: what is sealed is read again at its own place alone, and not when an octet of it has
// changed; two times the same are not sealed alike.
func TestSeal(t *testing.T) {
	x, other := makeKey(), makeKey()
	at := place{"office", fieldPassword}
	sealed, err := x.seal(secretPassword, at)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := x.seal(secretPassword, at); again == sealed || strings.Contains(sealed, secretPassword) {
		t.Errorf("sealed as %s", sealed)
	}
	if got, err := unseal([]key{other, x}, sealed, at); err != nil || got != secretPassword {
		t.Errorf("%q, %v", got, err)
	}
	for _, wrong := range []place{{"offices", fieldPassword}, {"office", fieldClientSecret}} {
		if _, err := unseal([]key{x}, sealed, wrong); !errors.Is(err, errDamagedSeal) {
			t.Errorf("at %v: %v", wrong, err)
		}
	}
	if _, err := unseal([]key{other}, sealed, at); !errors.Is(err, errSealedOtherwise) {
		t.Errorf("under another key: %v", err)
	}
	for i := range sealed {
		damaged := []byte(sealed)
		damaged[i] ^= 1
		if got, err := unseal([]key{x}, string(damaged), at); err == nil && got == secretPassword && !sameBase64(sealed, string(damaged)) {
			t.Errorf("octet %d does not matter", i)
		}
	}
	for _, none := range []string{"", "v1", "v1.x", "v1." + x.id + ".", "v2" + sealed[2:]} {
		if _, err := unseal([]key{x}, none, at); err == nil {
			t.Errorf("%q was read", none)
		}
	}
}

// sameBase64 reports whether two texts stand for the same octets: the last character has bits
// that say nothing.
func sameBase64(a, b string) bool {
	x, err1 := base64.RawURLEncoding.DecodeString(a[strings.LastIndexByte(a, '.')+1:])
	y, err2 := base64.RawURLEncoding.DecodeString(b[strings.LastIndexByte(b, '.')+1:])
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// TestKeyFile: the first credential makes the key file, which nobody else can read. Without it,
// or with another, nothing is shown, and what is wrong is told once, with the file; nothing is
// recorded that could not be read beside the rest.
func TestKeyFile(t *testing.T) {
	w := newWorld(t, nil)
	w.mustPut(passwordDraft("relay", host))
	info, err := os.Stat(w.keyFile)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	whole, err := os.ReadFile(w.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	w.mustPut(passwordDraft("other", "other.example.com"))
	if now, _ := os.ReadFile(w.keyFile); !bytes.Equal(now, whole) {
		t.Error("the second has changed the key file")
	}
	if c := w.shows(w.book.For("other.example.com")); c.Password != secretPassword || c.User != "joe" || c.Name != "other" {
		t.Errorf("%+v", c)
	}
	l := w.book.Named("Relay")
	for name, c := range map[string]struct {
		make func() error
		want string
	}{
		"not there":   {func() error { return os.Remove(w.keyFile) }, "is not there: restore it"},
		"for others":  {func() error { return os.WriteFile(w.keyFile, whole, 0o640) }, "can be read or written by others than its owner (mode 0640)"},
		"another":     {func() error { return writeKeys(w.keyFile, makeKey()) }, "is sealed under a key that is not in the key file"},
		"empty":       {func() error { return os.WriteFile(w.keyFile, nil, 0o600) }, "has no key in it"},
		"cut short":   {func() error { return os.WriteFile(w.keyFile, whole[:len(whole)-9], 0o600) }, "has no key in line 4"},
		"too large":   {func() error { return os.WriteFile(w.keyFile, make([]byte, maxKeyFile+1), 0o600) }, "it is no key file"},
		"a directory": {func() error { return os.Mkdir(w.keyFile, 0o700) }, "is not a regular file"},
	} {
		_ = os.RemoveAll(w.keyFile)
		if name == "not there" {
			_ = os.WriteFile(w.keyFile, whole, 0o600)
		}
		if err := c.make(); err != nil {
			t.Fatal(err)
		}
		if name == "for others" {
			_ = os.Chmod(w.keyFile, 0o640)
		}
		w.fails(l, "credential relay: ")
		w.fails(l, c.want)
		w.fails(l, w.keyFile)
		if err := w.put(passwordDraft("third")); name != "another" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: a third was recorded: %v", name, err)
		}
	}
	w.wantTold("credential-failed credential relay: ")
	_ = os.RemoveAll(w.keyFile)
	if err := os.WriteFile(w.keyFile, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := w.shows(l); c.Password != secretPassword {
		t.Errorf("%+v", c)
	}
	w.wantTold("credential-failed", "credential-works")
	w.wantQuiet(secretPassword)
}

func writeKeys(file string, keys ...key) error {
	_ = os.Remove(file)
	return NewKeyring(file).write(keys)
}

// TestPut: what a draft does not say of secrets stays, an empty one is taken away, and each
// record is another login when it has changed.
func TestPut(t *testing.T) {
	w := newWorld(t, nil)
	if c, err := w.book.Named("relay").Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "credential relay: is not in the directory") {
		t.Errorf("%v, %v", c, err)
	}
	if w.book.For(host) != nil {
		t.Error("there is a login for what nobody has recorded")
	}
	w.mustPut(passwordDraft("relay", host))
	first := w.book.For(host)
	if first != w.book.Named("RELAY") || w.shows(first).Password != secretPassword {
		t.Error("it is not found")
	}
	d := passwordDraft("relay", host)
	d.Record.Mechanisms, d.Secrets = []string{"LOGIN", "PLAIN"}, nil
	w.mustPut(d)
	second := w.book.For(host)
	if c := w.shows(second); second == first || c.Password != secretPassword || c.Mechanisms != "LOGIN PLAIN" {
		t.Errorf("%+v", c)
	}
	if w.shows(first).Password != secretPassword {
		t.Error("a login of before has nothing to show any more")
	}
	d.Secrets = map[string]mail.Secret{fieldPassword: ""}
	if err := w.put(d); len(directory.ProblemsOf(err)) != 1 {
		t.Errorf("without a password: %v", err)
	}
	for field, text := range map[string]string{fieldPassword: "two\nlines", fieldClientKey: "no key", "": ""} {
		d.Secrets = map[string]mail.Secret{field: mail.Secret(text), fieldPassword: mail.Secret(strings.Repeat("x", maxSecret+1))}
		if field == fieldPassword {
			d.Secrets[field] = mail.Secret(text)
		}
		if err := w.put(d); directory.ProblemsOf(err) == nil || strings.Contains(err.Error(), text) && text != "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	w.wantQuiet(secretPassword)
}

// TestSecretStays: a secret is shown to nobody to whom it was not before, unless it is given again.
func TestSecretStays(t *testing.T) {
	w := newWorld(t, nil)
	w.mustPut(passwordDraft("relay", "a.example", "b.example"))
	for name, c := range map[string]struct {
		change  func(d *Draft)
		refused bool
	}{
		"a note":               {func(d *Draft) { d.Record.Note = "x" }, false},
		"fewer hosts":          {func(d *Draft) { d.Record.Hosts = []string{"a.example"} }, false},
		"another host":         {func(d *Draft) { d.Record.Hosts = append(d.Record.Hosts, "evil.example") }, true},
		"another issuer":       {func(d *Draft) { d.Record.TokenURL = "https://evil.example/token" }, true},
		"without verification": {func(d *Draft) { d.Record.WithoutVerification = true }, true},
		"with the secret again": {func(d *Draft) {
			d.Record.Hosts = append(d.Record.Hosts, "c.example")
			d.Secrets = map[string]mail.Secret{fieldPassword: "new"}
		}, false},
	} {
		d := passwordDraft("relay", "a.example", "b.example")
		d.Secrets = nil
		c.change(&d)
		err := w.directory.Change(t.Context(), "ann", func(tx *directory.Tx) error {
			if err := w.book.Keys().Put(tx, d); err != nil {
				return err
			}
			return errTried
		})
		if refused := !errors.Is(err, errTried); refused != c.refused || refused && !strings.Contains(err.Error(), "would be shown to others than before") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var errTried = errors.New("this was to be tried, and no more")

// TestRekey: all is sealed under another key, which alone is in the file then; nobody who looks
// meanwhile finds something that cannot be read.
func TestRekey(t *testing.T) {
	w := newWorld(t, nil)
	w.mustPut(passwordDraft("relay", host))
	w.mustPut(passwordDraft("other"))
	l, before := w.book.For(host), w.directory.Credential("relay").Password
	old, err := w.book.Keys().keys()
	if err != nil {
		t.Fatal(err)
	}
	facts := w.told()
	n, err := w.book.Keys().Rekey(t.Context(), w.directory, "ann")
	if err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	keys, err := w.book.Keys().keys()
	if err != nil || len(keys) != 1 || keys[0].id == old[0].id || w.directory.Credential("relay").Password == before {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	for _, of := range []*Login{l, w.book.For(host), w.book.Named("other")} {
		if c := w.shows(of); c.Password != secretPassword {
			t.Errorf("%+v", c)
		}
	}
	if got := w.told(); len(got) != len(facts) {
		t.Errorf("it is told as a failure: %q", got)
	}
	if left, _ := filepath.Glob(w.keyFile + ".*"); left != nil {
		t.Errorf("left behind: %q", left)
	}
	if err := writeKeys(w.keyFile, old...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.book.Keys().Rekey(t.Context(), w.directory, "ann"); !errors.Is(err, errSealedOtherwise) {
		t.Errorf("with the key of before: %v", err)
	}
}

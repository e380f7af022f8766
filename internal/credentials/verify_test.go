package credentials

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// TestVerify: whether a key file opens what is sealed is known of every secret, and where
// nothing is sealed there need be no such file.
func TestVerify(t *testing.T) {
	w := newWorld(t, nil)
	k := NewKeyring(w.keyFile)
	if err := k.Verify(w.directory); err != nil || HasSealed(w.directory) {
		t.Errorf("with nothing sealed: %v", err)
	}
	if text, err := k.Read(); err != nil || text != nil {
		t.Errorf("no key file: %q, %v", text, err)
	}
	w.mustPut(passwordDraft("relay", host))
	w.mustPut(passwordDraft("other", "other.example"))
	if err := k.Verify(w.directory); err != nil || !HasSealed(w.directory) {
		t.Errorf("with its own key file: %v", err)
	}
	text, err := k.Read()
	if on, wrong := os.ReadFile(w.keyFile); err != nil || wrong != nil || !bytes.Equal(text, on) {
		t.Errorf("the key file is %q, %v", text, err)
	}
	if err := k.write([]key{makeKey()}); err != nil {
		t.Fatal(err)
	}
	err = k.Verify(w.directory)
	for _, name := range []string{"relay", "other"} {
		if !errors.Is(err, errSealedOtherwise) || !strings.Contains(err.Error(), "credential "+name+": its password is sealed under a key that is not in the key file") {
			t.Errorf("with another key file: %v", err)
		}
	}
	for _, spoilt := range []string{"postern-credentials-1 x", ""} {
		if err := os.WriteFile(w.keyFile, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Read(); err == nil || !strings.Contains(err.Error(), w.keyFile) {
			t.Errorf("a key file with %q: %v", spoilt, err)
		}
	}
	if err := os.Remove(w.keyFile); err != nil {
		t.Fatal(err)
	}
	if err := k.Verify(w.directory); !errors.Is(err, ErrNoKeyFile) {
		t.Errorf("without one: %v", err)
	}
}

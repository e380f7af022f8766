package certs

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/mail"
)

// TestPoolFile: a file of authorities is read again when it has changed; what cannot be
// used is told once, and the ones from before stay.
func TestPoolFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	clock := mail.NewManualClock(time.Now())
	write := func(content []byte) {
		t.Helper()
		clock.Advance(time.Hour)
		if err := errors.Join(os.WriteFile(file, content, 0o600), os.Chtimes(file, clock.Now(), clock.Now())); err != nil {
			t.Fatal(err)
		}
	}
	authority := func() []byte {
		c, err := NewAuthority("CA", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	}
	if _, err := OpenPool(file, clock); !errors.Is(err, ErrMissing) {
		t.Fatalf("error %v", err)
	}
	one := authority()
	write(one)
	f, err := OpenPool(file, clock)
	if err != nil {
		t.Fatal(err)
	}
	first := f.Pool()
	for _, c := range []struct {
		name    string
		content []byte
		event   bool // there is something to tell
		wrong   bool
		changed bool // there is another pool
	}{
		{"the same, written again", one, false, false, false},
		{"damaged", []byte("no PEM"), true, true, false},
		{"damaged still", []byte("no PEM"), false, true, false},
		{"mended as it was", one, true, false, false},
		{"one more", append(authority(), one...), true, false, true},
	} {
		write(c.content)
		e := f.Look()
		if (e != nil) != c.event || e != nil && (e.Err != nil) != c.wrong {
			t.Errorf("%s: event %+v", c.name, e)
		}
		if (f.Stale() != nil) != c.wrong || (f.Pool() != first) != c.changed {
			t.Errorf("%s: stale %v, changed %v", c.name, f.Stale(), f.Pool() != first)
		}
	}
	if e := f.Look(); e != nil {
		t.Errorf("nothing has changed, and %+v is told", e)
	}
}

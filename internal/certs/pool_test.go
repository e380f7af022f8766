package certs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLoadPool: a file of which a part cannot be read is refused whole.
func TestLoadPool(t *testing.T) {
	dir := t.TempDir()
	one, key := filepath.Join(dir, "one"), filepath.Join(dir, "key")
	made, err := SelfSigned(Options{Names: []string{"one.example"}})
	if err := errors.Join(err, Save(made, one, key)); err != nil {
		t.Fatal(err)
	}
	pool, err := LoadPool(one, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadPool(one, time.Now())
	if err != nil || !pool.Equal(again) {
		t.Errorf("read again it is another, %v", err)
	}
	good, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	broken := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for name, c := range map[string]struct {
		text   string
		reason error
	}{
		"empty":            {"", ErrFormat},
		"not PEM":          {"hello", ErrFormat},
		"a key":            {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ErrFormat},
		"one that damaged": {string(good) + broken, ErrFormat},
	} {
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadPool(file, time.Now())
		if wrong, ok := errors.AsType[*Error](err); !ok || wrong.File != file || !errors.Is(err, c.reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadPool(filepath.Join(dir, "none"), time.Now()); !errors.Is(err, ErrMissing) {
		t.Errorf("a file that is not there: %v", err)
	}
}

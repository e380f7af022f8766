package certs

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// acmeFiles writes a certificate as a Manager stores it.
func acmeFiles(t *testing.T, dir string) (crt, key string, both []byte) {
	t.Helper()
	both, err := encodeBoth(forNames(t, "mx.example"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "certificates", "authority", "mx.example")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(at, "mx.example.crt"), filepath.Join(at, "mx.example.key"), both
}

// TestReadACME: all is read but locks and what is being written, and a certificate of which the
// key has been replaced already is waited for.
func TestReadACME(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	if files, err := ReadACME(t.Context(), dir); err != nil || len(files) != 0 {
		t.Errorf("of one that is not there: %v, %v", files, err)
	}
	crt, key, old := acmeFiles(t, dir)
	_, _, both := acmeFiles(t, dir)
	write(t, crt, string(old))
	write(t, key, string(old))
	if err := errors.Join(VerifyACME(dir), VerifyACME(filepath.Join(dir, "none"))); err != nil {
		t.Error(err)
	}
	write(t, key, string(both))
	if err := VerifyACME(dir); err == nil || !strings.HasPrefix(err.Error(), crt+": tls: private key does not match") {
		t.Errorf("a certificate of another key: %v", err)
	}
	write(t, filepath.Join(filepath.Dir(key), "123456"), "half a key")
	for _, name := range []string{"locks/issue.lock", "users/joe/joe.json"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), name)
	}
	names := []string{"certificates/authority/mx.example/mx.example.crt", "certificates/authority/mx.example/mx.example.key", "users/joe/joe.json"}
	synctest.Test(t, func(t *testing.T) {
		var files map[string][]byte
		var err error
		go func() { files, err = ReadACME(context.Background(), dir) }()
		synctest.Wait() // it waits for the certificate
		if files != nil {
			t.Error("a certificate of another key was read")
		}
		write(t, crt, string(both))
		time.Sleep(wholePause)
		synctest.Wait()
		if err != nil || !slices.Equal(slices.Sorted(maps.Keys(files)), names) || string(files[names[0]]) != string(both) {
			t.Errorf("read are %v, %v", slices.Sorted(maps.Keys(files)), err)
		}
	})

	// One that stays so is what there is.
	write(t, crt, string(old))
	synctest.Test(t, func(t *testing.T) {
		if files, err := ReadACME(context.Background(), dir); err != nil || len(files) != 3 || string(files[names[0]]) != string(old) {
			t.Errorf("read are %v, %v", slices.Sorted(maps.Keys(files)), err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := ReadACME(ctx, dir); err == nil {
			t.Error("it waits for a certificate although nobody waits for it")
		}
	})
}

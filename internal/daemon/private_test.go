package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/dkim"
	"postern/internal/mail"
)

// TestCopiedWith: a key file and a directory that are copied belong together, however often
// the file changes meanwhile.
func TestCopiedWith(t *testing.T) {
	for _, c := range []struct {
		name   string
		reads  []string // what the file has, one read after the other
		want   string
		copies int
	}{
		{"stays", []string{"a", "a"}, "a", 1},
		{"changes once", []string{"a", "ab", "ab"}, "ab", 2},
		{"changes twice", []string{"a", "ab", "b", "b"}, "b", 3},
		{"comes to be", []string{"", "a", "a"}, "a", 2},
		{"is not there", []string{"", ""}, "", 1},
		{"changes all the while", []string{"a", "b", "c", "d", "e", "f"}, "busy", 5},
	} {
		reads, copies := c.reads, 0
		text, err := copiedWith(func() ([]byte, error) {
			if len(reads) == 0 {
				t.Fatalf("%s: the file is read too often", c.name)
			}
			read := []byte(reads[0])
			reads = reads[1:]
			return read, nil
		}, func() error {
			copies++
			return nil
		})
		if busy, is := errors.AsType[*admin.Problem](err); is && busy.Status == 409 {
			text, err = []byte("busy"), nil
		}
		if err != nil || string(text) != c.want || copies != c.copies || len(reads) > 0 {
			t.Errorf("%s: %q, %v, copied %d times", c.name, text, err, copies)
		}
	}
	broken := errors.New("broken")
	if _, err := copiedWith(func() ([]byte, error) { return nil, nil }, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a directory that cannot be copied: %v", err)
	}
	if _, err := copiedWith(func() ([]byte, error) { return nil, broken }, func() error { return nil }); !errors.Is(err, broken) {
		t.Errorf("a key file that cannot be read: %v", err)
	}
}

// privateWorld is a data directory with private things in it.
type privateWorld struct {
	*testing.T
	config *config.Config
	d      *directory.Directory
	keys   *credentials.Keyring
	store  *certs.Store
	dkim   *dkim.Keeper
}

func newPrivateWorld(t *testing.T) *privateWorld {
	t.Helper()
	w := &privateWorld{T: t, config: &config.Config{DataDir: t.TempDir()}}
	var err error
	w.d, err = directory.Open(t.Context(), directory.Options{Dir: directoryDir(w.config), Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	t.Cleanup(func() { w.must(w.d.Close()) })
	w.keys = credentials.NewKeyring(w.config.CredentialsKey())
	w.must(w.d.Change(t.Context(), "ann", func(tx *directory.Tx) error {
		return w.keys.Put(tx, credentials.Draft{
			Record:  directory.Credential{Name: "relay", Kind: directory.CredentialPassword, User: "joe", Hosts: []string{"relay.example"}},
			Secrets: map[string]mail.Secret{"password": "the secret"},
		})
	}))
	w.store, err = certs.OpenStore(certificatesDir(w.config), mail.SystemClock{})
	w.must(err)
	keys, err := dkim.OpenStore(keysDir(w.config), mail.SystemClock{})
	w.must(err)
	g := newGraph(w.config, mail.SystemClock{})
	w.dkim = keyKeeper(keys, func() *graph { return g }, nil, mail.SystemClock{})
	return w
}

func (w *privateWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *privateWorld) certificate() *tls.Certificate {
	w.Helper()
	key, err := certs.NewKey(certs.KeyKind(""))
	w.must(err)
	c, err := certs.SelfSigned(certs.Options{Names: []string{"mx.example"}, Key: key})
	w.must(err)
	return &c
}

// laidOut puts copies where a backup has them.
func (w *privateWorld) laidOut(p *privateCopies) (dir string, names []string) {
	w.Helper()
	dir = w.TempDir()
	for _, f := range p.files {
		data, err := os.ReadFile(f.Path)
		w.must(err)
		if int64(len(data)) != f.Size {
			w.Errorf("%s has %d octets, not %d", f.Name, len(data), f.Size)
		}
		to := filepath.Join(dir, f.Name)
		w.must(errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, data, 0o600)))
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return dir, names
}

// TestCopiesDuringChanges: while certificates and keys come and go, and all secrets are sealed anew, a copy
// has each as it was between two changes.
func TestCopiesDuringChanges(t *testing.T) {
	w := newPrivateWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	certificate := w.certificate()
	go func() {
		var err error
		for err == nil && ctx.Err() == nil {
			_, err = w.dkim.Add("ann", dkim.KeyOrder{Domain: "a.example", Selector: "s", Algorithm: dkim.Ed25519, Now: true})
			_, sealed := w.keys.Rekey(t.Context(), w.d, "ann")
			err = errors.Join(err, sealed, w.store.Put("mail", certificate, true), w.store.Assign("smtp", []string{"mail"}),
				w.dkim.Remove("ann", "a.example", "s", true), w.store.Assign("smtp", nil), w.store.Remove("mail"))
		}
		done <- err
	}()
	for range 10 {
		p, err := copyPrivate(t.Context(), w.config, w.d, admin.SnapshotOrder{KeyFile: true})
		if busy, is := errors.AsType[*admin.Problem](err); is && busy.Status == 409 {
			continue // so many changes are too many, and it says so
		}
		w.must(err)
		dir, names := w.laidOut(p)
		faults, err := verifyPrivate(t.Context(), dir)
		if err != nil || len(faults) > 0 || !slices.Contains(names, credentialsKeyName) {
			t.Errorf("copied are %v: %v, %v", names, faults, err)
		}
		w.must(p.remove())
	}
	stop()
	w.must(<-done)
}

// TestCopiesSayWhatTheyLack: of a directory with something sealed, and of one with nothing.
func TestCopiesSayWhatTheyLack(t *testing.T) {
	w := newPrivateWorld(t)
	p, err := copyPrivate(t.Context(), w.config, w.d, admin.SnapshotOrder{})
	w.must(err)
	_, names := w.laidOut(p)
	if p.keyFile != w.config.CredentialsKey() || !slices.Equal(names, []string{"directory/directory.db"}) {
		t.Errorf("copied are %v, without %q", names, p.keyFile)
	}
	if info, err := os.Stat(p.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("they are in a directory of mode %v, %v", info.Mode(), err)
	}
	w.must(w.d.Change(t.Context(), "ann", func(tx *directory.Tx) error { return tx.DeleteCredential("relay") }))
	if p, err = copyPrivate(t.Context(), w.config, w.d, admin.SnapshotOrder{}); err != nil || p.keyFile != "" {
		t.Errorf("with nothing sealed they are without %q, %v", p.keyFile, err)
	}
	w.must(os.Remove(w.config.CredentialsKey()))
	if p, err = copyPrivate(t.Context(), w.config, w.d, admin.SnapshotOrder{KeyFile: true}); err != nil || len(p.files) != 1 {
		t.Errorf("without a key file: %+v, %v", p.files, err)
	}
	// What fails leaves nothing.
	w.must(os.WriteFile(w.config.CredentialsKey(), []byte("no key"), 0o600))
	if _, err = copyPrivate(t.Context(), w.config, w.d, admin.SnapshotOrder{KeyFile: true}); err == nil || !strings.Contains(err.Error(), w.config.CredentialsKey()) {
		t.Errorf("with a damaged key file: %v", err)
	}
	if exists(p.dir) {
		t.Error("copies were left")
	}
}

// TestCopiesFollowNoLink: root makes copies in a directory that is the server's, who may have put
// a link there.
func TestCopiesFollowNoLink(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(other, []byte("root's"), 0o600), os.Symlink(other, filepath.Join(dir, "0"))); err != nil {
		t.Fatal(err)
	}
	p := &privateCopies{dir: dir}
	if err := p.add("dkim/a", []byte("key")); err == nil {
		t.Error("a copy took the place of a link")
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "root's" {
		t.Errorf("the other file: %q, %v", data, err)
	}
}

// TestVerifyPrivate: what cannot be used in a copy is named, as it lies there.
func TestVerifyPrivate(t *testing.T) {
	w := newPrivateWorld(t)
	_, err := w.dkim.Add("ann", dkim.KeyOrder{Domain: "a.example", Selector: "s", Algorithm: dkim.Ed25519})
	w.must(errors.Join(err, w.store.Put("mail", w.certificate(), false)))
	both, err := os.ReadFile(filepath.Join(certificatesDir(w.config), "mail.pem"))
	issued := filepath.Join(acmeDir(w.config), "certificates", "a", "mx")
	w.must(errors.Join(err, os.MkdirAll(issued, 0o700), os.WriteFile(filepath.Join(issued, "mx.crt"), both, 0o600), os.WriteFile(filepath.Join(issued, "mx.key"), both, 0o600)))
	p, err := copyPrivate(t.Context(), w.config, w.d, admin.SnapshotOrder{KeyFile: true})
	w.must(err)
	for file, want := range map[string]string{
		"dkim/s._domainkey.a.example.pem": "dkim/s._domainkey.a.example.pem: ",
		"dkim/records.json":               "dkim: dkim/records.json: ",
		"certificates/mail.pem":           "certificates/mail.pem: ",
		"certificates/records.json":       "certs: certificates/records.json: ",
		"credentials.key":                 "the key file credentials.key has no key in line 1",
		"acme/certificates/a/mx/mx.key":   "acme/certificates/a/mx/mx.crt: tls: ",
	} {
		dir, _ := w.laidOut(p)
		w.must(os.WriteFile(filepath.Join(dir, file), []byte("spoilt"), 0o600))
		faults, err := verifyPrivate(t.Context(), dir)
		if err != nil || len(faults) != 1 || !strings.HasPrefix(faults[0], want) {
			t.Errorf("%s: %q, %v", file, faults, err)
		}
	}
	dir, _ := w.laidOut(p)
	w.must(os.WriteFile(filepath.Join(dir, "directory/directory.db"), []byte("spoilt"), 0o600))
	if _, err := verifyPrivate(t.Context(), dir); err == nil {
		t.Error("a directory that is damaged was taken")
	}
}

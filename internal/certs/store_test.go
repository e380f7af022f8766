package certs

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/privatedir"
)

// newStore opens one in a directory that is not there yet.
func newStore(t *testing.T) *Store {
	t.Helper()
	return reopened(t, filepath.Join(t.TempDir(), "certificates"))
}

func reopened(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir, mail.SystemClock{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, name string) *x509.Certificate {
	t.Helper()
	c := forNames(t, name+".example")
	if err := s.Put(name, c, true); err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// TestStoreKeeps: what was put is there at once and for good, in files that their owner
// alone can read.
func TestStoreKeeps(t *testing.T) {
	s := newStore(t)
	a := put(t, s, "a")
	if err := s.Assign("smtp", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Warn(a, 14); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"the same": s, "opened again": reopened(t, string(s.files.Dir()))} {
		got := s.AssignedTo("smtp").Certificates()
		if len(got) != 1 || !got[0].Leaf.Equal(a) || len(s.AssignedTo("other").Certificates()) != 0 || !slices.Equal(s.Listeners("a"), []string{"smtp"}) {
			t.Errorf("%s: assigned are %v", name, got)
		}
		if got := s.Named("a").Certificates(); len(got) != 1 || !got[0].Leaf.Equal(a) || len(s.Named("b").Certificates()) != 0 {
			t.Errorf("%s: a is %v", name, got)
		}
		for days, want := range map[int]bool{30: false, 14: false} {
			if fresh, err := s.Warn(a, days); err != nil || fresh != want {
				t.Errorf("%s: %d days: new %v, error %v", name, days, fresh, err)
			}
		}
	}
	if fresh, err := s.Warn(a, 3); err != nil || !fresh {
		t.Errorf("3 days: new %v, error %v", fresh, err)
	}
	files, err := os.ReadDir(string(s.files.Dir()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
		if strings.HasPrefix(f.Name(), ".new") {
			t.Errorf("%s was left", f.Name())
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	s := newStore(t)
	put(t, s, "a")
	if err := s.Put("ca", authority(t), false); err != nil {
		t.Fatal(err)
	}
	der, key, err := NewRequest(Options{Names: []string{"open.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutRequest("open", der, key); err != nil {
		t.Fatal(err)
	}
	if err := s.Assign("smtp", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want error }{
		"taken":             {s.Put("a", forNames(t, "b.example"), false), ErrExists},
		"no name":           {s.Put("../a", forNames(t, "b.example"), false), ErrName},
		"nobody":            {s.Assign("smtp", []string{"nobody"}), ErrNotFound},
		"an authority":      {s.Assign("smtp", []string{"ca"}), ErrCA},
		"a request":         {s.Assign("smtp", []string{"a", "open"}), ErrPending},
		"in use":            {s.Remove("a"), ErrInUse},
		"removing nobody":   {s.Remove("nobody"), ErrNotFound},
		"answer of another": {s.Answer("open", nil, forNames(t, "b.example").Leaf), ErrNoKey},
		"answer to nobody":  {s.Answer("nobody", nil, forNames(t, "b.example").Leaf), ErrNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: error %v, want %v", what, c.got, c.want)
		}
	}
	if got := s.Assigned("smtp"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("assigned are %v", got)
	}
	if _, err := s.Key("open"); !errors.Is(err, ErrPending) {
		t.Errorf("the key of a request: %v", err)
	}
}

// TestAnswer: the answer to a request takes the place of what was in use, and a renewal
// for the same key too.
func TestAnswer(t *testing.T) {
	s, ca := newStore(t), authority(t)
	put(t, s, "a")
	der, key, err := NewRequest(Options{Names: []string{"new.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutRequest("a", der, key); err != nil {
		t.Fatal(err)
	}
	if got := s.Named("a").Certificates()[0].Leaf.DNSNames[0]; got != "a.example" {
		t.Errorf("in use is that for %s before there is an answer", got)
	}
	for _, name := range []string{"new.example", "renewed.example"} {
		c, err := Issue(ca, Options{Names: []string{name}, Key: key, Clock: mail.NewManualClock(now)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Answer("a", c.Certificate, c.Leaf); err != nil {
			t.Fatal(err)
		}
		e, err := reopened(t, string(s.files.Dir())).Entry("a")
		if err != nil || e.Request != nil || e.Err != nil || !e.Certificate.Leaf.Equal(c.Leaf) {
			t.Errorf("for %s: %+v, %v", name, e, err)
		}
	}
}

// TestStoreDamaged: a file that cannot be used is told of, and keeps nobody from the
// others; records that cannot be read do.
func TestStoreDamaged(t *testing.T) {
	s := newStore(t)
	put(t, s, "good")
	put(t, s, "mixed")
	other, err := EncodeKey(forNames(t, "x.example").PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Entry("mixed")
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.file("mixed", storeSuffix), string(other)+string(EncodeChain(e.Certificate)))
	write(t, s.file("bad", storeSuffix), "nothing")
	write(t, s.file("odd", requestSuffix), "nothing")
	write(t, filepath.Join(string(s.files.Dir()), "not a name.pem"), "nothing")
	again := reopened(t, string(s.files.Dir()))
	for name, want := range map[string]error{"good": nil, "mixed": ErrMismatch, "bad": ErrFormat, "odd": ErrFormat} {
		e, err := again.Entry(name)
		if err != nil || !errors.Is(e.Err, want) || want == nil && e.Err != nil || (e.Certificate != nil) != (want == nil) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	if n := len(again.Entries()); n != 4 {
		t.Errorf("%d entries, want 4", n)
	}
	if err := again.Remove("bad"); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(string(s.files.Dir()), privatedir.RecordsFile), "{")
	if _, err := OpenStore(string(s.files.Dir()), mail.SystemClock{}); err == nil || !strings.Contains(err.Error(), privatedir.RecordsFile) {
		t.Errorf("error %v with damaged records", err)
	}
}

// TestDamagedStaysInUse: a file that is damaged while the server runs takes no
// certificate out of use, whoever reads the directory again; it is told once.
func TestDamagedStaysInUse(t *testing.T) {
	s := newStore(t)
	leaf := put(t, s, "a")
	other := reopened(t, string(s.files.Dir()))
	write(t, s.file("a", storeSuffix), "nothing")
	put(t, s, "b") // which reads all again
	events, err := other.Look()
	if err != nil || len(events) != 2 || !errors.Is(events[0].Err, ErrFormat) || events[1].Name != "b" {
		t.Errorf("told: %+v, %v", events, err)
	}
	for i, store := range []*Store{s, other} {
		used := store.Named("a").Certificates()
		if len(used) != 1 || !used[0].Leaf.Equal(leaf) {
			t.Errorf("store %d: it is not in use", i)
		}
		if e, _ := store.Entry("a"); !errors.Is(e.Err, ErrFormat) {
			t.Errorf("store %d: %v", i, e.Err)
		}
	}
	put(t, s, "c")
	if events, err := other.Look(); err != nil || len(events) != 1 {
		t.Errorf("told again: %+v, %v", events, err)
	}
	if err := s.Remove("a"); err != nil || len(s.Named("a").Certificates()) != 0 {
		t.Errorf("removed: %v", err)
	}
}

// TestLinksAreNotFollowed: who owns the directory gets nothing of root's by a link.
func TestLinksAreNotFollowed(t *testing.T) {
	s := newStore(t)
	put(t, s, "a")
	target := filepath.Join(t.TempDir(), "target")
	write(t, target, "x")
	lock := filepath.Join(string(s.files.Dir()), privatedir.LockFile)
	if err := errors.Join(os.Remove(lock), os.Symlink(target, lock)); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("b", forNames(t, "b.example"), false); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a lock that is a link: %v", err)
	}
}

// TestStoreOfTwo: what another process changes is seen, and told once; what was read
// before a change is not written over it.
func TestStoreOfTwo(t *testing.T) {
	one := newStore(t)
	put(t, one, "a")
	two := reopened(t, string(one.files.Dir()))
	put(t, two, "b")
	put(t, two, "a")
	put(t, one, "c")
	if _, err := one.Entry("b"); err != nil {
		t.Error(err)
	}
	events, err := two.Look()
	if err != nil || len(events) != 1 || events[0].Name != "c" || events[0].Old != nil {
		t.Errorf("seen: %+v, %v", events, err)
	}
	if events, err := two.Look(); err != nil || len(events) != 0 {
		t.Errorf("seen again: %+v, %v", events, err)
	}
	changed := put(t, one, "a")
	if events, err := two.Look(); err != nil || len(events) != 1 || events[0].Old == nil || !events[0].New.Leaf.Equal(changed) {
		t.Errorf("the other's change: %+v, %v", events, err)
	}
}

// TestSweep: what a process left that ended while it wrote is gone with the next change.
func TestSweep(t *testing.T) {
	s := newStore(t)
	put(t, s, "a")
	left := filepath.Join(string(s.files.Dir()), ".new-123")
	write(t, left, "half a key")
	put(t, s, "b")
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestWarnedAreForgotten: what ended long ago takes no room.
func TestWarnedAreForgotten(t *testing.T) {
	s := newStore(t)
	old := &x509.Certificate{Raw: []byte("old"), NotAfter: time.Now().Add(-keepWarned - time.Hour)}
	for _, c := range []*x509.Certificate{old, {Raw: []byte("new"), NotAfter: time.Now()}} {
		if fresh, err := s.Warn(c, 0); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
	}
	if _, kept := s.files.Content().records.Warned[Fingerprint(old)]; kept {
		t.Error("it is still there")
	}
}

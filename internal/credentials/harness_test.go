package credentials

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a Book with a directory, and all that it has told.
type world struct {
	t         *testing.T
	clock     *mail.ManualClock // the time of day here
	passing   *mail.ManualClock // which is never set
	directory *directory.Directory
	keyFile   string
	book      *Book

	mu    sync.Mutex
	facts mailtest.Facts
	works int // how often a credential worked again
	log   lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, issuer *mailtest.TokenIssuer) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, clock: mail.NewManualClock(start), passing: mail.NewManualClock(start), keyFile: filepath.Join(dir, "credentials.key")}
	var err error
	if w.directory, err = directory.Open(t.Context(), directory.Options{Dir: filepath.Join(dir, "directory")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.directory.Close() })
	o := Options{
		Settings: Settings{KeyFile: w.keyFile}, Directory: func() *directory.Directory { return w.directory }, Clock: w.clock,
		Monotonic: w.passing.Now, Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Record: w.facts.Record,
		Works: func(string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.works++
		},
	}
	if issuer != nil {
		o.Authorities = issuer.Roots()
	}
	w.book = New(o)
	t.Cleanup(w.book.Close)
	return w
}

// pass lets time pass, for the clock too.
func (w *world) pass(d time.Duration) {
	w.clock.Advance(d)
	w.passing.Advance(d)
}

// told returns the facts of the Book, each with its reason before it.
func (w *world) told() (texts []string) {
	for _, f := range w.facts.All() {
		texts = append(texts, string(f.Reason)+" "+f.Text)
	}
	return texts
}

func (w *world) put(d Draft) error {
	return w.directory.Change(w.t.Context(), "ann", func(tx *directory.Tx) error { return w.book.Keys().Put(tx, d) })
}

func (w *world) mustPut(d Draft) {
	w.t.Helper()
	if err := w.put(d); err != nil {
		w.t.Fatal(err)
	}
}

// shows wants a login to have something to show.
func (w *world) shows(l *Login) mail.Credentials {
	w.t.Helper()
	c, err := l.Credentials(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// fails wants a login to have nothing to show, for a reason that has a part.
func (w *world) fails(l *Login, part string) {
	w.t.Helper()
	c, err := l.Credentials(w.t.Context())
	if err == nil || !strings.Contains(err.Error(), part) || !c.IsZero() {
		w.t.Errorf("%+v, %v; want an error with %q", c, err, part)
	}
}

// wantTold wants facts, each with a part, and no others.
func (w *world) wantTold(parts ...string) {
	w.t.Helper()
	told := w.told()
	if len(told) != len(parts) {
		w.t.Errorf("the facts are %q, want %q", told, parts)
		return
	}
	for i, part := range parts {
		if !strings.Contains(told[i], part) {
			w.t.Errorf("fact %d is %q, want %q", i, told[i], part)
		}
	}
}

// wantQuiet wants none of the secrets in what was told and logged.
func (w *world) wantQuiet(secrets ...string) {
	w.t.Helper()
	facts, err := w.directory.NextFacts(context.Background(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	said := w.log.String() + strings.Join(w.told(), "\n") + fmt.Sprint(w.book.Troubles())
	for _, f := range facts {
		said += f.Text + "\n"
	}
	file, err := os.ReadFile(filepath.Join(filepath.Dir(w.keyFile), "directory", directory.File))
	if err != nil {
		w.t.Fatal(err)
	}
	said += string(file)
	for _, s := range secrets {
		if s = strings.TrimSpace(s); strings.Contains(said, s[:min(len(s), 16)]) {
			w.t.Errorf("%.16s… is shown", s)
		}
	}
}

// newRSA returns a key of that length, in PEM, with its public half.
func newRSA(t *testing.T, bits int) (text string, public *rsa.PublicKey, private *rsa.PrivateKey) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return keyPEM(t, k), &k.PublicKey, k
}

func newEC(t *testing.T, curve elliptic.Curve) (text string, public *ecdsa.PublicKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyPEM(t, k), &k.PublicKey
}

func keyPEM(t *testing.T, k any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

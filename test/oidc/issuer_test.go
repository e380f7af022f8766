// Package oidc_test has Postern verify the tokens of a real issuer, which is built from
// the module beside it and run on loopback: a user logs in at it with a browser's steps,
// and the mail program shows the token. An issuer that cannot be built fails the tests.
package oidc_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// programs are what the tests run, built once.
type programs struct{ dir, postern, issuer string }

var built = sync.OnceValues(func() (p programs, err error) {
	if p.dir, err = os.MkdirTemp("", "postern-oidc-"); err != nil {
		return p, err
	}
	if p.postern, err = harness.BuildPostern(context.Background(), p.dir); err != nil {
		return p, err
	}
	p.issuer, err = harness.BuildIssuer(context.Background(), p.dir)
	return p, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if p, err := built(); err == nil {
		if err := os.RemoveAll(p.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// issuer is the real one, for the length of a test.
type issuer struct {
	*harness.Issuer
	stop func()
}

// startIssuer starts one that has a certificate of its own.
func startIssuer(t *testing.T) *issuer {
	t.Helper()
	p, err := built()
	mailtest.Must(t, err)
	dir := t.TempDir()
	config, _ := mailtest.ServerTLS(t, "127.0.0.1")
	certificate, key := filepath.Join(dir, "issuer.pem"), filepath.Join(dir, "issuer.key")
	mailtest.Must(t, os.WriteFile(certificate, mailtest.CertificatePEM(config), 0o600))
	mailtest.Must(t, os.WriteFile(key, mailtest.KeyPEM(t, config), 0o600))
	i, err := harness.StartIssuer(p.issuer, certificate, key)
	mailtest.Must(t, err)
	stop := sync.OnceFunc(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &issuer{i, stop}
}

// order has the issuer do something.
func (i *issuer) order(t *testing.T, what string) {
	t.Helper()
	mailtest.Must(t, i.Order(what))
}

// login logs a user in, and returns his tokens (RFC 6749 4.1).
func (i *issuer) login(t *testing.T, user string) harness.Tokens {
	t.Helper()
	got, err := i.Login(t.Context(), user)
	mailtest.Must(t, err)
	return got
}

package peercerts

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"postern/internal/certs"
)

// Trust is what a trust list has from a chain.
type Trust struct {
	// Subject is what its certificate is called.
	Subject string `json:"subject"`
	// Authority says that the certificate signs others, so that the server may have a new
	// one. Else it is the server's own, and the list ends with it.
	Authority bool   `json:"authority"`
	PEM       string `json:"-"`
}

// Trust returns what a list needs that trusts the server: the authority at the end of its
// chain, as it was sent or as the system has it; or the server's own certificate, where no
// authority that vouches for it is known.
func (c *Chain) Trust() Trust {
	anchor := cmp.Or(c.root, c.sentAuthority(), c.shown[0])
	return Trust{
		Subject:   certs.Title(anchor),
		Authority: anchor.IsCA && anchor != c.shown[0],
		PEM:       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: anchor.Raw})),
	}
}

// sentAuthority is the last of the certificates that were sent which vouches for the server's
// own, with the help of the others: servers send strange things, too.
func (c *Chain) sentAuthority() *x509.Certificate {
	for _, candidate := range slices.Backward(c.shown[1:]) {
		roots := x509.NewCertPool()
		roots.AddCert(candidate)
		if _, err := c.shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: c.others()}); err == nil && candidate.IsCA {
			return candidate
		}
	}
	return nil
}

// ErrExists says that a file is there already.
var ErrExists = errors.New("it exists already")

// Write writes the trust list into a file that all may read: it holds no secret. A file that is
// there is replaced only if replace says so, whole or not at all. It fails with ErrExists, or the
// error of the file system.
func (t Trust) Write(file string, replace bool) error {
	if _, err := os.Lstat(file); err == nil && !replace {
		return fmt.Errorf("%s: %w", file, ErrExists)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // when it has its name, there is nothing by this one
	_, err = f.WriteString("# " + printable(t.Subject) + "\n" + t.PEM)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), file)
	}
	err = os.Link(f.Name(), file) // which replaces nothing that has come meanwhile
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", file, ErrExists)
	}
	return err
}

// printable keeps what a certificate calls itself within its line.
func printable(s string) string {
	return string(slices.DeleteFunc([]rune(s), func(r rune) bool { return r < ' ' || r == 0x7f }))
}

package credentials

import (
	"errors"
	"fmt"
	"slices"

	"postern/internal/directory"
)

// This file is for operators, and for backups: is what was sealed of use with a key file?

// HasSealed reports whether a directory has a secret that is sealed.
func HasSealed(d *directory.Directory) bool {
	return slices.ContainsFunc(d.CredentialNames(), func(name string) bool {
		return slices.ContainsFunc(d.Credential(name).Sealed(), func(f directory.SealedField) bool { return *f.Value != "" })
	})
}

// Ready fails with why the key file cannot be read; it is not needed where nothing is sealed. Whether it has
// the right key Verify tells.
func (k *Keyring) Ready(d *directory.Directory) error {
	if !HasSealed(d) {
		return nil
	}
	_, err := k.keys()
	return err
}

// Verify unseals all secrets of a directory, which nobody may change meanwhile. It fails with why that cannot
// be, with each that cannot; the key file is not needed where nothing is sealed.
func (k *Keyring) Verify(d *directory.Directory) error {
	if !HasSealed(d) {
		return nil
	}
	keys, err := k.keys()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range d.CredentialNames() {
		for _, f := range d.Credential(name).Sealed() {
			if *f.Value == "" {
				continue
			}
			if _, err := unseal(keys, *f.Value, place{name, f.Name}); err != nil {
				errs = append(errs, fmt.Errorf("credential %s: its %s %w", name, f.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Read returns the key file as it is, nil if there is none. It fails as whatever needs it would.
func (k *Keyring) Read() ([]byte, error) {
	text, err := k.text()
	if errors.Is(err, ErrNoKeyFile) {
		return nil, nil
	}
	if err == nil {
		_, err = parseKeys(text)
	}
	if err != nil {
		return nil, fileError{k.file, err}
	}
	return text, nil
}

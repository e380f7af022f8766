package credentials

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/directory"
	"postern/internal/mail"
)

// The fields of a record that are secret.
const (
	fieldPassword     = "password"
	fieldClientSecret = "client_secret"
	fieldClientKey    = "client_key"
	fieldRefreshToken = "refresh_token"
)

// Draft is a credential as a person writes it: the record, and what is secret in clear.
type Draft struct {
	Record directory.Credential
	// Secrets are those that change, by their fields; an empty one is taken away.
	Secrets map[string]mail.Secret
	// Tenant is that of Microsoft 365, of which the URL follows.
	Tenant string
}

// maxSecret bounds a secret, in octets; a key has its own bound.
const (
	maxSecret = 8 << 10
	maxKey    = 16 << 10
)

// Put records a draft within a change of the directory, with its secrets sealed. What was
// recorded of the secrets that it does not name stays. The first makes the key file. It fails
// with directory.Problems, or when the key file cannot be used.
func (k *Keyring) Put(tx *directory.Tx, d Draft) error {
	r := &d.Record
	r.Name = strings.ToLower(r.Name)
	was, exists := tx.Credential(r.Name)
	if exists {
		now := r.Sealed()
		for i, f := range was.Sealed() {
			*now[i].Value = *f.Value
		}
		if err := d.stays(&was); err != nil {
			return err
		}
	}
	if err := d.complete(!exists); err != nil {
		return err
	}
	if err := k.sealAll(tx, &d); err != nil {
		return err
	}
	return tx.PutCredential(d.Record)
}

// stays refuses to have what is recorded of the secrets shown to others than before: secrets can be
// written and not read, and who may change a record must not read one by having it sent to himself.
func (d *Draft) stays(was *directory.Credential) error {
	r := &d.Record
	elsewhere := r.TokenURL != was.TokenURL || r.Preset != was.Preset || r.WithoutVerification && !was.WithoutVerification ||
		slices.ContainsFunc(r.Hosts, func(h string) bool { return !slices.Contains(was.Hosts, h) })
	if !elsewhere {
		return nil
	}
	for _, f := range was.Sealed() {
		if _, given := d.Secrets[f.Name]; !given && *f.Value != "" {
			return directory.Problems{&directory.Invalid{Key: r.Key(), Field: f.Name, Problem: "would be shown to others than before", Hint: "give the secret again with the change"}}
		}
	}
	return nil
}

// complete fills in what follows from the preset and from the key, and checks the secrets.
func (d *Draft) complete(fresh bool) error {
	var found directory.Problems
	wrong := func(field, hint, format string, args ...any) {
		found = append(found, &directory.Invalid{Key: d.Record.Key(), Field: field, Problem: fmt.Sprintf(format, args...), Hint: hint})
	}
	for field, secret := range d.Secrets {
		most := maxSecret
		if field == fieldClientKey {
			most = maxKey
		}
		if len(secret) > most {
			wrong(field, "write a shorter one", "has %d octets, the limit is %d", len(secret), most)
		} else if field != fieldClientKey && strings.ContainsAny(string(secret), "\x00\r\n") {
			wrong(field, "write one line", "has an end of line in it")
		}
	}
	if d.Tenant != "" && d.Record.Preset != directory.PresetMicrosoft {
		wrong("tenant", "leave it out, or write microsoft365 as the preset", "is of Microsoft 365 alone")
	}
	if secret := d.Secrets[fieldClientKey]; secret != "" && found == nil {
		if err := d.useKey(string(secret)); err != nil {
			wrong(fieldClientKey, "give it a private key in PEM (RSA of 2048 bits at least, or EC), or the file of a service account of Google", "%v", err)
		}
	}
	if d.Record.Certificate != "" && found == nil {
		if err := d.checkCertificate(); err != nil {
			wrong("certificate", "give it that of the client key, in PEM", "%v", err)
		}
	}
	if found != nil {
		return found
	}
	fill(d, fresh)
	return nil
}

// useKey takes a private key, or the file of a service account with all that is in it.
func (d *Draft) useKey(text string) error {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		var account struct {
			Type       string `json:"type"`
			Email      string `json:"client_email"`
			PrivateKey string `json:"private_key"`
			KeyID      string `json:"private_key_id"`
			TokenURI   string `json:"token_uri"`
		}
		if json.Unmarshal([]byte(text), &account) != nil || account.Type != "service_account" || account.PrivateKey == "" {
			return errors.New("is no file of a service account")
		}
		text = account.PrivateKey
		d.Record.ClientID, d.Record.KeyID, d.Record.TokenURL = account.Email, account.KeyID, account.TokenURI
	}
	if _, err := parseKey(text); err != nil {
		return err
	}
	d.Secrets[fieldClientKey] = mail.Secret(text)
	return nil
}

// checkCertificate wants the certificate of the key that is given with it.
func (d *Draft) checkCertificate() error {
	block, _ := pem.Decode([]byte(d.Record.Certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("is no certificate in PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return errors.New("cannot be read")
	}
	secret := d.Secrets[fieldClientKey]
	if secret == "" {
		return nil // that of a key that is recorded
	}
	signer, err := parseKey(string(secret))
	if err != nil {
		return err
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(certificate.PublicKey) {
		return errors.New("is of another key")
	}
	return nil
}

// sealAll seals the secrets of a draft into its record.
func (k *Keyring) sealAll(tx *directory.Tx, d *Draft) error {
	if !slices.ContainsFunc(d.Record.Sealed(), func(f directory.SealedField) bool { return d.Secrets[f.Name] != "" }) {
		for _, f := range d.Record.Sealed() {
			if _, given := d.Secrets[f.Name]; given {
				*f.Value = ""
			}
		}
		return nil
	}
	x, err := k.sealing(tx)
	if err != nil {
		return err
	}
	for _, f := range d.Record.Sealed() {
		secret, given := d.Secrets[f.Name]
		switch {
		case !given:
		case secret == "":
			*f.Value = ""
		default:
			if *f.Value, err = x.seal(string(secret), place{d.Record.Name, f.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// sealing returns the key that seals. It is made with the file when there is none, and
// nothing either that was sealed under another.
func (k *Keyring) sealing(tx *directory.Tx) (key, error) {
	keys, err := k.keys()
	if errors.Is(err, ErrNoKeyFile) && len(tx.Credentials()) == 0 {
		keys = []key{makeKey()}
		err = k.write(keys)
	}
	if err != nil {
		return key{}, err
	}
	return keys[0], nil
}

// Rekey seals all secrets under a new key, and returns how many records have some. The key of
// before stays in the file until all is on stable storage; when it is broken off, at whatever
// step, everything can be read, and the next run ends it.
func (k *Keyring) Rekey(ctx context.Context, d *directory.Directory, actor string) (n int, err error) {
	// All of it is within changes of the directory: nobody seals anything meanwhile.
	var fresh key
	err = d.Change(ctx, actor, func(tx *directory.Tx) error {
		keys, err := k.keys()
		if err != nil {
			return err
		}
		fresh = makeKey()
		if err := k.write(append([]key{fresh}, inUse(tx, keys)...)); err != nil {
			return err
		}
		n, err = reseal(tx, keys, fresh)
		return err
	})
	if err != nil {
		return 0, err
	}
	k.reach("committed")
	return n, d.Change(ctx, actor, func(tx *directory.Tx) error {
		if err := allUnder(tx, fresh); err != nil {
			return err
		}
		return k.write([]key{fresh})
	})
}

// inUse are the keys under which something is sealed.
func inUse(tx *directory.Tx, keys []key) []key {
	return slices.DeleteFunc(slices.Clone(keys), func(x key) bool { return !slices.ContainsFunc(sealedIn(tx), x.hasSealed) })
}

// sealedIn are all secrets, as they are sealed.
func sealedIn(tx *directory.Tx) (all []string) {
	for _, name := range tx.Credentials() {
		r, _ := tx.Credential(name)
		for _, f := range r.Sealed() {
			if *f.Value != "" {
				all = append(all, *f.Value)
			}
		}
	}
	return all
}

func (x key) hasSealed(sealed string) bool {
	return strings.HasPrefix(sealed, sealVersion+"."+x.id+".")
}

// reseal seals all secrets under another key.
func reseal(tx *directory.Tx, keys []key, fresh key) (n int, err error) {
	for _, name := range tx.Credentials() {
		r, _ := tx.Credential(name)
		for _, f := range r.Sealed() {
			if *f.Value == "" {
				continue
			}
			at := place{name, f.Name}
			secret, err := unseal(keys, *f.Value, at)
			if err != nil {
				return 0, fmt.Errorf("credential %s: its %s %w", name, f.Name, err)
			}
			if *f.Value, err = fresh.seal(secret, at); err != nil {
				return 0, err
			}
		}
		if err := tx.Reseal(r); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// allUnder fails if a secret is sealed under another key.
func allUnder(tx *directory.Tx, x key) error {
	for _, sealed := range sealedIn(tx) {
		if !x.hasSealed(sealed) {
			return errors.New("something was sealed under another key meanwhile: run it again")
		}
	}
	return nil
}

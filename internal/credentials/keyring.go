package credentials

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"postern/internal/mail"
	"postern/internal/privatedir"
)

// Keyring seals secrets under the keys of a file. The first key seals, and each unseals what
// it has sealed; there are several only while all is sealed anew (Rekey).
type Keyring struct {
	file string
	// reached is told of each step of Rekey that is on the disk; nil but for a test that
	// ends its process there.
	reached func(step string)
}

// NewKeyring returns that of a file, which is read when it is needed.
func NewKeyring(file string) *Keyring { return &Keyring{file: file} }

// ErrNoKeyFile says that the key file is not there.
var ErrNoKeyFile = errors.New("is not there: restore it from where a copy is kept; without it nothing that was sealed can be read, and each credential must be removed and added again")

const (
	keySize = 32 // of AES-256
	// keyLine begins a line with a key.
	keyLine = "postern-credentials-1 "
	maxKeys = 8
	// maxKeyFile bounds the file, in octets.
	maxKeyFile = 4096
	// sealVersion begins what is sealed.
	sealVersion = "v1"
)

const keyFileHead = `# The keys under which credentials in Postern's directory are sealed (docs/credentials.md).
# Who has this file and the directory, or a backup of it, has the passwords: keep a copy,
# and keep it apart from these.
`

// key is one of the file.
type key struct {
	id     string // tells keys apart, and nothing of the key
	secret []byte
}

func newKey(secret []byte) key {
	sum := sha256.Sum256(append([]byte("postern credentials key\x00"), secret...))
	return key{id: hex.EncodeToString(sum[:8]), secret: secret}
}

func makeKey() key {
	secret := make([]byte, keySize)
	rand.Read(secret) // never fails
	return newKey(secret)
}

// fileError is what is wrong with the key file; it shows nothing that is in it.
type fileError struct {
	file string
	err  error
}

// Error names the file.
func (e fileError) Error() string { return "the key file " + e.file + " " + e.err.Error() }

// Unwrap returns what is wrong.
func (e fileError) Unwrap() error { return e.err }

// keys reads the file.
func (k *Keyring) keys() ([]key, error) {
	keys, err := k.read()
	if err != nil {
		return nil, fileError{k.file, err}
	}
	return keys, nil
}

func (k *Keyring) read() ([]key, error) {
	text, err := k.text()
	if err != nil {
		return nil, err
	}
	return parseKeys(text)
}

func (k *Keyring) text() ([]byte, error) {
	f, err := os.Open(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoKeyFile
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", withoutPath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("can be read or written by others than its owner (mode %04o): it must have mode 0600; whoever has read it may have the passwords", info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	return text, nil
}

func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func parseKeys(text []byte) ([]key, error) {
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("has more than %d octets: it is no key file", maxKeyFile)
	}
	var keys []key
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		encoded, is := bytes.CutPrefix(line, []byte(keyLine))
		secret, err := base64.StdEncoding.DecodeString(string(encoded))
		if !is || err != nil || len(secret) != keySize {
			return nil, fmt.Errorf("has no key in line %d: a line with one is %q and 32 octets in base64", n, strings.TrimSpace(keyLine))
		}
		keys = append(keys, newKey(secret))
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("has no key in it")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("has %d keys, and %d at most are read", len(keys), maxKeys)
	}
	return keys, nil
}

// write puts keys into the file: all of them, or it stays as it was.
func (k *Keyring) write(keys []key) error {
	var b bytes.Buffer
	b.WriteString(keyFileHead)
	for _, x := range keys {
		b.WriteString(keyLine + base64.StdEncoding.EncodeToString(x.secret) + "\n")
	}
	file := privatedir.File{Path: k.file, Written: func() { k.reach("written") }}
	if err := file.Write(b.Bytes()); err != nil {
		return fileError{k.file, fmt.Errorf("cannot be written: %w", err)}
	}
	k.reach("renamed")
	return nil
}

func (k *Keyring) reach(step string) {
	if k.reached != nil {
		k.reached(step)
	}
}

// errSealedOtherwise says that nothing in the key file opens what is sealed.
var errSealedOtherwise = errors.New("is sealed under a key that is not in the key file")

// errDamagedSeal says that what is sealed cannot be opened with the key that it names.
var errDamagedSeal = errors.New("cannot be unsealed: it is damaged, or of another record")

// place is where a secret stands: what is sealed for one is of no use in another.
type place struct{ record, field string }

func (p place) bytes() []byte { return []byte("postern credential\x00" + p.record + "\x00" + p.field) }

// seal seals a secret for a place: "v1.KEY.BASE64", of AES-256-GCM with a nonce before it.
func (x key) seal(secret string, at place) (string, error) {
	gcm, err := x.gcm()
	if err != nil {
		return "", err
	}
	sealed := gcm.Seal(nil, nil, []byte(secret), at.bytes())
	return sealVersion + "." + x.id + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (x key) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(x.secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// unseal opens what was sealed for a place under one of the keys.
func unseal(keys []key, sealed string, at place) (string, error) {
	version, rest, _ := strings.Cut(sealed, ".")
	id, encoded, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if version != sealVersion || err != nil {
		return "", errDamagedSeal
	}
	for _, x := range keys {
		if x.id != id {
			continue
		}
		gcm, err := x.gcm()
		if err != nil {
			return "", err
		}
		secret, err := gcm.Open(nil, nil, text, at.bytes())
		if err != nil {
			return "", errDamagedSeal
		}
		return string(secret), nil
	}
	return "", errSealedOtherwise
}

// open unseals secrets of a record, by their fields; empty ones are left out.
func (k *Keyring) open(name string, sealed map[string]string) (map[string]mail.Secret, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	secrets := make(map[string]mail.Secret)
	for field, text := range sealed {
		if text == "" {
			continue
		}
		secret, err := unseal(keys, text, place{name, field})
		if err != nil {
			return nil, fmt.Errorf("its %s %w (%s)", field, err, k.file)
		}
		secrets[field] = mail.Secret(secret)
	}
	return secrets, nil
}

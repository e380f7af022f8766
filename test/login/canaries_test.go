package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/certs"
	"postern/internal/directory"
	"postern/internal/mailtest"
)

// canaries are secrets in clear, one of each kind; password is that of joe.
var canaries = struct {
	passwordOfPat, wrongPassword, asName, brokenForm       string // said or given by people
	token, wrongToken                                      string // of users
	ldapUser, ldapBind, ldapWrongBind                      string
	serviceUser, serviceSecret, smarthost                  string
	clientSecret, refreshToken, wrongCredential            string // of credentials of this host
	apiToken, wrongAPIToken, passphrase, wrongPassphrase   string
	passwordOfNobody, passwordTooLong, passwordOfTheBroken string
}{
	passwordOfPat: "marked-password-of-pat", wrongPassword: "marked-password-that-is-wrong",
	asName: "marked-password-as-a-name", brokenForm: "marked-password-in-a-broken-form",
	token: "marked-token-of-joe", wrongToken: "marked-token-that-is-none",
	ldapUser: "marked-password-in-ldap", ldapBind: "marked-password-of-the-reader", ldapWrongBind: "marked-password-of-no-reader",
	serviceUser: "marked-password-in-the-service", serviceSecret: "marked-secret-of-the-service", smarthost: "marked-password-of-the-relay",
	clientSecret: "marked-secret-of-the-client", refreshToken: "marked-token-that-refreshes", wrongCredential: "marked-password-of-no-relay",
	apiToken: "marked-token-of-the-administrator", wrongAPIToken: "marked-token-of-no-administrator",
	passphrase: "marked-passphrase-of-a-file", wrongPassphrase: "marked-passphrase-that-is-wrong",
	passwordOfNobody: "marked-password-of-nobody", passwordTooLong: "marked-password-too-long-" + strings.Repeat("x", 1024),
	passwordOfTheBroken: "marked-password-of-the-broken",
}

// inClear are all canaries.
func inClear() []string {
	c := &canaries
	return []string{
		password, c.passwordOfPat, c.wrongPassword, c.asName, c.brokenForm, c.token, c.wrongToken, c.ldapUser, c.ldapBind, c.ldapWrongBind,
		c.serviceUser, c.serviceSecret, c.smarthost, c.clientSecret, c.refreshToken, c.wrongCredential, c.apiToken, c.wrongAPIToken, c.passphrase, c.wrongPassphrase, c.passwordOfNobody,
		c.passwordTooLong[:40], c.passwordOfTheBroken,
	}
}

// shapes are how a secret could be shown: as it is, in hexadecimal, and within Base64,
// whatever stands before it.
func shapes(secret string) []string {
	list := []string{secret, hex.EncodeToString([]byte(secret))}
	for before := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
		list = append(list, text[(before*8+5)/6:(before+len(secret))*8/6]) // what the secret alone decides
	}
	return list
}

// clearShapes are all canaries in all shapes.
func clearShapes() []string {
	var list []string
	for _, secret := range inClear() {
		list = append(list, shapes(secret)...)
	}
	return list
}

// keyShapes are how private keys, of ECDSA with P-256 and of Ed25519, could be shown.
func keyShapes(t *testing.T, keys ...any) []string {
	t.Helper()
	list := []string{"PRIVATE KEY-----"}
	for _, key := range keys {
		if key, is := key.(ed25519.PrivateKey); is {
			list = append(list, shapes(string(key.Seed()))...)
			continue
		}
		scalar, err := key.(*ecdsa.PrivateKey).Bytes()
		mailtest.Must(t, err)
		text, err := certs.EncodeKey(key)
		mailtest.Must(t, err)
		// In the second line of Base64 are 20 octets of the number that is the key.
		list = append(list, strings.Split(string(text), "\n")[2])
		list = append(list, shapes(string(scalar))...)
	}
	return list
}

// sealingShapes are how the key under which credentials are sealed could be shown, first as it is in
// its file.
func (s *safe) sealingShapes(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.files, "credentials.key"))
	mailtest.Must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	_, encoded, is := strings.Cut(lines[len(lines)-1], " ")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !is || err != nil || len(key) != 32 {
		t.Fatalf("the key file has %d lines, and the last has no key: %v", len(lines), err)
	}
	return append([]string{encoded}, shapes(string(key))...)
}

// storedShapes are the hashes and keys of the users, part by part, and their beginnings.
func (s *server) storedShapes(ctx context.Context, t *testing.T) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.Data(), "directory", directory.File)+"?mode=ro&_pragma=busy_timeout(60000)")
	mailtest.Must(t, err)
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT password, scram FROM users WHERE password != ''")
	mailtest.Must(t, err)
	defer rows.Close()
	list := []string{"$argon2id$", "SCRAM-SHA-256$"}
	for rows.Next() {
		var hash, keys string
		mailtest.Must(t, rows.Scan(&hash, &keys))
		for _, part := range regexp.MustCompile(`[$:]`).Split(hash+"$"+keys, -1) {
			if len(part) >= 20 { // salts, hashes and keys
				list = append(list, part)
			}
		}
	}
	mailtest.Must(t, rows.Err())
	if len(list) < 2+2*(2+3) {
		t.Fatalf("of two users there are only %d salts, hashes and keys", len(list)-2)
	}
	return list
}

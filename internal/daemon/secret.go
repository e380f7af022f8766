package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"postern/internal/mail"
)

// maxSecret is the length of the longest password, in octets.
const maxSecret = 255

// The reasons for which the file of a password is refused.
var (
	errOpenToAll    = errors.New("every user of this machine can read or write it; give it to the server's user, with mode 600")
	errNoFile       = errors.New("is not a regular file")
	errNotAPassword = fmt.Errorf("is not a password: one line of 1 to %d octets, without control characters", maxSecret)
)

// loadCredentials reads what proves this server to the smarthosts.
func (d *Daemon) loadCredentials() error {
	c := &d.config.Delivery
	if c.SmarthostUser == "" {
		return nil
	}
	password, err := readSecret(c.SmarthostPasswordFile)
	if err != nil {
		return fmt.Errorf("delivery.smarthost_password_file: %w", err)
	}
	d.credentials = mail.Credentials{User: c.SmarthostUser, Password: password}
	return nil
}

// readSecret reads a password from a file of one line. It refuses a file that
// is open to everybody; its group is the operator's to choose. No error shows
// what is in the file.
func readSecret(path string) (mail.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: %w", path, errNoFile)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("%s: %w", path, errOpenToAll)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+int64(len("\r\n"))+1))
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if line == "" || len(line) > maxSecret || strings.ContainsFunc(line, unicode.IsControl) {
		return "", fmt.Errorf("%s: %w", path, errNotAPassword)
	}
	return mail.Secret(line), nil
}

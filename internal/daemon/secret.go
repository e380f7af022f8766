package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"postern/internal/config"
	"postern/internal/mail"
)

// maxSecret is the length of the longest secret, in octets.
const maxSecret = 255

// credentialsDirectory is the variable that names the directory of the
// credentials of a service (systemd.exec(5)).
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

// The reasons for which a secret is refused.
var (
	errOpenToAll = errors.New("every user of this machine can read or write it; give it to the server's user, with mode 600")
	errNoFile    = errors.New("is not a regular file")
	errNotSecret = fmt.Errorf("holds no secret: one line of 1 to %d octets, without control characters", maxSecret)
)

// absentError says that a secret is not there for this process, and may be for
// the server's.
type absentError struct{ what string }

// Error says what is not there, and who would set it.
func (e absentError) Error() string { return e.what }

// readSecret reads a secret from where it is kept, without the end of its
// line. No error shows what is there. It fails with an absentError if that
// depends on who started the process.
func readSecret(s config.Secret) (mail.Secret, error) {
	text, err := readSecretText(s, maxSecret+len("\r\n")+1)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s, err)
	}
	line := strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if line == "" || len(line) > maxSecret || strings.ContainsFunc(line, unicode.IsControl) {
		return "", fmt.Errorf("%s: %w", s, errNotSecret)
	}
	return mail.Secret(line), nil
}

// readSecretText reads at most so many octets.
func readSecretText(s config.Secret, limit int) (string, error) {
	switch s.Source {
	case config.SecretEnv:
		text, set := os.LookupEnv(s.Name)
		if !set {
			return "", absentError{"the environment has no such variable; set it where the server is started"}
		}
		return text, nil
	case config.SecretCredential:
		dir := os.Getenv(credentialsDirectory)
		if dir == "" {
			return "", absentError{fmt.Sprintf("no credentials were passed to this process; the server gets them with LoadCredential=%s:FILE in its systemd unit", s.Name)}
		}
		return readSecretFile(filepath.Join(dir, s.Name), limit)
	}
	return readSecretFile(s.Name, limit)
}

// readSecretFile refuses a file that is open to everybody; its group is the
// operator's to choose.
func readSecretFile(path string, limit int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", withoutPath(err)
	case !info.Mode().IsRegular():
		return "", errNoFile
	case info.Mode().Perm()&0o007 != 0:
		return "", errOpenToAll
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	return string(text), withoutPath(err)
}

// withoutPath takes the path off an error that is told with it.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

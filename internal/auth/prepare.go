package auth

import (
	"fmt"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/secure/precis"
)

// The longest names and passwords, in octets. A password is as long before it is
// prepared; preparing can make it longer, which does not matter.
const (
	MaxUser     = 254
	MaxPassword = 1024
)

// Prepare returns a password as it is hashed and compared, so that it is the same
// however a keyboard composes its characters: by SASLprep (RFC 4013), which is what
// clients of SCRAM do to it (RFC 5802 2.2), and where that does not know a character yet,
// such as an emoji, as an OpaqueString (RFC 8265 4.2).
//
// Errors: what is empty, too long, not UTF-8, or has control characters cannot be a
// password. They do not repeat it.
func Prepare(password string) (string, error) {
	switch {
	case password == "":
		return "", fmt.Errorf("%w: a password must not be empty", ErrInvalid)
	case len(password) > MaxPassword:
		return "", fmt.Errorf("%w: a password has at most %d octets, not %d", ErrInvalid, MaxPassword, len(password))
	case !utf8.ValidString(password):
		return "", fmt.Errorf("%w: a password must be UTF-8", ErrInvalid)
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		prepared, err = precis.OpaqueString.String(password)
	}
	if err != nil || prepared == "" {
		return "", fmt.Errorf("%w: a password must not have control characters, nor only such that are not seen", ErrInvalid)
	}
	return prepared, nil
}

package submit

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// What is wrong with addresses that can be read.
var (
	errDash = errors.New("an address that begins with a hyphen would be taken for an option somewhere, and is refused")
	errMany = errors.New("too many recipients")
	errNone = errors.New("it names no address")
)

// address returns the address of m; one without a domain is at host.
func address(m message.Mailbox, host string) (mail.Address, error) {
	written := m.String()
	if m.Domain == "" {
		m.Domain = host
	}
	a, err := mail.ParseAddress(m.String())
	if err == nil && strings.HasPrefix(a.Local, "-") {
		err = errDash
	}
	if err != nil {
		return mail.Address{}, fmt.Errorf("%q: %w", written, err)
	}
	return a, nil
}

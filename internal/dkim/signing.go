package dkim

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// Signing says by which keys messages are signed.
type Signing struct {
	Store *Store
	Options
	// Domains are those that are signed for, and must be; nil: all that have a key.
	Domains []string
	// Parents says that mail of a domain without keys is signed by those of the domain above
	// it, to which DMARC takes it to belong (RFC 7489 3.1.1).
	Parents bool
	// Envelope says that mail whose author's domain has no keys is signed by those of the
	// domain of its sender.
	Envelope bool
	// Hostname is whose mail what has no sender is; with the domains above it.
	Hostname string
	// Hostnames are those of companies: what has no sender, and an author there, is theirs.
	Hostnames []string
	Clock     mail.Clock
}

// errCannotSign is the refusal of what must be signed and cannot be.
var errCannotSign = mail.Refuse(451, "4.7.5", "The message cannot be signed at present, please try again later")

// errMustSign is its cause when there is no key.
var errMustSign = errors.New("dkim.sign has the domain, but no key of it is active")

// By returns the domain that signs content that goes out with a sender; "" if none does. It
// fails with 451 4.7.5 when one should and cannot, and with the errors of the content.
func (s *Signing) By(content io.ReaderAt, size int64, sender mail.Address) (string, error) {
	if s.Domains == nil && s.Store.idle() {
		return "", nil
	}
	br := bufio.NewReader(io.NewSectionReader(content, 0, size))
	header, err := message.ReadHeader(br, message.Limits{})
	if err != nil {
		return "", err
	}
	return s.Signer(AuthorDomain(header), sender)
}

// Sign signs content by a domain. Errors: as of By.
func (s *Signing) Sign(content io.ReaderAt, size int64, by string) (*message.Signed, error) {
	keys, err := s.active(by)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 { // it was removed in this moment
		return nil, errCannotSign.Because(ErrNoDomain)
	}
	return message.Sign(content, size, func(src io.Reader) (string, error) {
		fields, err := s.Options.Sign(src, s.Clock.Now(), keys...)
		if _, known := errors.AsType[*mail.Error](err); err != nil && !known {
			err = errCannotSign.Because(err)
		}
		return fields, err
	})
}

// Signer returns the domain that signs for an author's domain and a sender; "" if none
// does. Errors: as of By.
func (s *Signing) Signer(author string, sender mail.Address) (string, error) {
	for _, of := range s.candidates(author, sender) {
		if s.Domains != nil && !slices.Contains(s.Domains, of) {
			continue
		}
		if keys, err := s.active(of); err != nil || len(keys) > 0 {
			return of, err
		}
	}
	return "", nil
}

// active returns the keys by which a domain signs; none, if it need not.
func (s *Signing) active(domain string) ([]Key, error) {
	keys, err := s.Store.active(domain)
	if err == nil && len(keys) == 0 && s.Domains != nil {
		err = errMustSign
	}
	if err != nil {
		return nil, errCannotSign.Because(err)
	}
	return keys, nil
}

// candidates are the domains that may sign, the first that has keys does.
func (s *Signing) candidates(author string, sender mail.Address) []string {
	var list []string
	add := func(name string, parents bool) {
		domain, err := Domain(name)
		for ; err == nil && domain != ""; _, domain, _ = strings.Cut(domain, ".") {
			list = append(list, domain)
			if !parents {
				break
			}
		}
	}
	add(author, s.Parents)
	switch {
	case !s.Envelope:
	case sender.IsNull():
		add(s.hostOf(author), true)
	default:
		add(sender.Domain, s.Parents)
	}
	return list
}

// hostOf is the name under which this host has written what has no sender.
func (s *Signing) hostOf(author string) string {
	if slices.ContainsFunc(s.Hostnames, func(name string) bool { return mail.SameDomain(name, author) }) {
		return author
	}
	return s.Hostname
}

// maxAuthors bounds the addresses of a From field that are looked at.
const maxAuthors = 100

// AuthorDomain returns the domain of the author of a message: of the first address in its
// From field. It is empty if there is none, or more than one field: whose message that is
// readers of mail decide in their own ways (RFC 7489 6.6.1).
func AuthorDomain(h *message.Header) string {
	if h.Count("From") != 1 {
		return ""
	}
	value, _ := h.First("From")
	list, err := message.ParseMailboxes(value, maxAuthors)
	if err != nil || len(list) == 0 {
		return ""
	}
	return list[0].Domain
}

package httpauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"golang.org/x/text/language"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
)

// answer is what a service says of an account; all of it may be left out.
type answer struct {
	User      string   `json:"user"` // the name of the account, if it is another than was given
	Addresses []string `json:"addresses"`
	Groups    []string `json:"groups"`
	Services  []string `json:"services"`
	Language  string   `json:"language"`
}

const (
	maxName   = 255  // of an account, in octets
	maxValues = 1000 // of a list
)

// read makes an account of the answer of a service. 200 with an object of JSON is that
// the password is right; an object with anything else in it than answer has is none,
// because it may say that the password is wrong: {"ok": false}. 401 and 403 are that it
// is wrong. All else says nothing of user and password, such as the page of a proxy.
func (s *Source) read(user string, r *http.Response) (mail.Principal, error) {
	switch r.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return mail.Principal{}, fmt.Errorf("%w: the service answers %d", auth.ErrInvalid, r.StatusCode)
	default:
		return mail.Principal{}, fmt.Errorf("the service answers %d, and not 200, 401 or 403", r.StatusCode)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return mail.Principal{}, err
	}
	a, err := parse(text)
	if err != nil {
		return mail.Principal{}, err
	}
	if a.User == "" {
		a.User = user
	}
	p := mail.Principal{
		Account:   mail.Account{Name: a.User, Source: s.config.Name},
		Services:  s.services(&a),
		Addresses: a.Addresses,
		Groups:    a.Groups,
		Language:  a.Language,
	}
	return p, nil
}

// parse reads an answer strictly. No error shows what is in it.
func parse(text []byte) (a answer, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var object *answer
	if err := decoder.Decode(&object); err != nil || object == nil {
		return a, errors.New("the service answers 200 with what is no object of JSON, or has other members than user, addresses, groups, services and language")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return a, errors.New("the service answers with something behind the object")
	}
	return *object, object.check()
}

// check wants values that can be used.
func (a *answer) check() error {
	if len(a.User) > maxName || !isName(a.User) {
		return errors.New("the service answers with a user that is no name of an account")
	}
	for _, list := range [][]string{a.Addresses, a.Groups, a.Services} {
		if len(list) > maxValues {
			return fmt.Errorf("the service answers with a list of more than %d", maxValues)
		}
		for _, text := range list {
			if text == "" || len(text) > maxName || !isName(text) {
				return errors.New("the service answers with a list in which a value is empty, too long, or has control characters")
			}
		}
	}
	for _, text := range a.Addresses {
		if !isPattern(text) {
			return errors.New(`the service answers with an address that is neither local-part@domain nor *@domain`)
		}
	}
	if _, err := language.Parse(a.Language); a.Language != "" && err != nil {
		return errors.New("the service answers with a language that is no language tag")
	}
	return nil
}

// isPattern reports whether a text is an address, or stands for all of a domain.
func isPattern(text string) bool {
	if domain, all := cutAll(text); all {
		return mail.CheckDomain(domain) == nil
	}
	a, err := mail.ParseAddress(text)
	return err == nil && a.Domain != ""
}

func cutAll(text string) (domain string, all bool) {
	if len(text) > 2 && text[:2] == "*@" {
		return text[2:], true
	}
	return "", false
}

// services are what the configuration gives the account, less what the service does not.
func (s *Source) services(a *answer) mail.Services {
	v := config.Services(s.config.Services, a.Groups)
	if a.Services != nil {
		has := func(name config.Service) bool { return slices.Contains(a.Services, string(name)) }
		v.Submit = v.Submit && has(config.ServiceSubmit)
		v.Relay = v.Relay && has(config.ServiceRelay)
		v.POP = v.POP && has(config.ServicePOP)
	}
	return v
}

package auth

import (
	"bytes"
	"context"
	"fmt"

	"postern/internal/mail"
)

// beginPlain is PLAIN (RFC 4616): for whom, who, and the password, with a NUL between
// them.
func beginPlain(a *Authenticator, at *Attempt) mechanism {
	return &clientFirst{mechanism: one(func(ctx context.Context, response []byte) (mail.Principal, error) {
		authzid, user, password, err := parsePlain(response)
		if err != nil {
			return mail.Principal{}, err
		}
		if !same(authzid, user) {
			return mail.Principal{}, errForOther
		}
		return a.password(ctx, at, user, password)
	})}
}

// errForOther refuses who wants to act for another: who may send as whom is the
// business of the directory, and is checked at MAIL.
var errForOther = fmt.Errorf("%w: it is for another user than the one who authenticates", ErrInvalid)

// parsePlain takes the message of PLAIN apart (RFC 4616 2).
func parsePlain(response []byte) (authzid, user, password string, err error) {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return "", "", "", errMalformed
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), nil
}

// login is LOGIN, which is in no RFC: two questions, for the user and for the password.
// The initial response is an answer to the first.
type login struct {
	auth  *Authenticator
	at    *Attempt
	asked bool
	user  string
}

func beginLogin(a *Authenticator, at *Attempt) mechanism { return &login{auth: a, at: at} }

// The questions: some clients read them, and know them by these words.
const (
	askUser     = "Username:"
	askPassword = "Password:"
)

func (l *login) next(ctx context.Context, response []byte) ([]byte, *mail.Principal, error) {
	switch {
	case response == nil && !l.asked:
		l.asked = true
		return []byte(askUser), nil, nil
	case l.user == "":
		l.asked = true
		l.user = string(response)
		if l.user == "" {
			return nil, nil, errMalformed
		}
		return []byte(askPassword), nil, nil
	case len(response) == 0:
		return nil, nil, errMalformed
	}
	who, err := l.auth.password(ctx, l.at, l.user, string(response))
	if err != nil {
		return nil, nil, err
	}
	return nil, &who, nil
}

// beginExternal is EXTERNAL (RFC 4422 appendix A): the certificate of the client says who it is,
// and the client at most for whom it acts, which must be the same.
func beginExternal(a *Authenticator, at *Attempt) mechanism {
	return &clientFirst{mechanism: one(func(ctx context.Context, response []byte) (mail.Principal, error) {
		authzid := string(response)
		if authzid != "" && !isName(authzid) {
			return mail.Principal{}, errMalformed
		}
		who, err := a.certificate(ctx, at, authzid)
		if err == nil && !same(authzid, who.Name) {
			return mail.Principal{}, errForOther
		}
		return who, err
	})}
}

package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"postern/internal/mail"
)

// Token lets somebody use the API at a TCP address. The name stands for the
// actor.
type Token struct {
	Name  string
	Value mail.Secret
}

const (
	// minToken is the length of the shortest token, in octets.
	minToken = 20
	// MaxTokens is how many octets all tokens may have together, with their
	// names.
	MaxTokens = 64 << 10
)

// ParseTokens reads tokens: lines of a name, a space, and a token. Empty lines
// and those that begin with # are passed over. It fails with the number of
// the line that is wrong, and shows nothing of it.
func ParseTokens(text string) (tokens []Token, err error) {
	names := make(map[string]bool)
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch {
		case len(words) != 2:
			return nil, fmt.Errorf("line %d is not a name, a space and a token", number)
		case len(words[1]) < minToken:
			return nil, fmt.Errorf("line %d: the token has less than %d characters", number, minToken)
		case names[words[0]]:
			return nil, fmt.Errorf("line %d: its name stands there twice", number)
		}
		names[words[0]] = true
		tokens = append(tokens, Token{Name: words[0], Value: mail.Secret(words[1])})
	}
	if len(tokens) == 0 {
		return nil, errors.New("there is no token")
	}
	return tokens, nil
}

// authenticated lets through whoever is known: by the socket, or by a token.
func (s *Server) authenticated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if actor(r.Context()) != "" {
			h.ServeHTTP(w, r)
			return
		}
		name, known := s.bearer(r)
		if !known {
			s.strangers.tell(s.Logger, s.Clock, r)
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Connection", "close") // a stranger keeps no place
			refuse(w, &Problem{Status: http.StatusUnauthorized, Title: "No valid token",
				Detail: "the header Authorization must be Bearer and a token of admin.tokens"})
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), actorKey{}, name)))
	})
}

// bearer returns the name of the token of a request (RFC 6750 2.1). How long
// it takes says nothing of the tokens.
func (s *Server) bearer(r *http.Request) (name string, known bool) {
	scheme, given, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	for _, t := range s.Tokens {
		own := sha256.Sum256([]byte(t.Value))
		if subtle.ConstantTimeCompare(sum[:], own[:]) == 1 {
			name, known = t.Name, true
		}
	}
	return name, known
}

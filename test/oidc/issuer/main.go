// Command issuer is an issuer of tokens for tests: the OpenID provider of
// github.com/zitadel/oidc, certified as such, with users of its own, JWTs for access
// tokens, and keys that change when it is told. It is a module of its own, so that what
// it is made of is no part of Postern.
//
//	issuer -cert FILE -key FILE
//
// It listens on loopback, writes its URL in a line, and then does what it reads, a line
// at a time, with a line in answer: "rotate ALGORITHM" signs with a new key and goes on
// publishing those before, "withdraw" publishes the last one alone. It ends with its
// input.
package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	certificate := flag.String("cert", "", "`file` with the certificate")
	key := flag.String("key", "", "`file` with its key")
	flag.Parse()
	if err := run(*certificate, *key); err != nil {
		log.Fatal(err)
	}
}

func run(certificate, key string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	url := "https://" + listener.Addr().String()
	s, err := newStore()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server := &http.Server{Handler: exampleop.SetupServer(url, s, logger, false), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		// It ends with the process; nobody is told of it but a test that asks.
		log.Print(server.ServeTLS(listener, certificate, key))
	}()
	fmt.Println(url)
	return s.obey()
}

// obey does what it reads, until there is no more.
func (s *store) obey() error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, argument, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch word {
		case "rotate":
			err = s.rotate(jose.SignatureAlgorithm(argument))
		case "withdraw":
			s.withdraw()
		default:
			err = fmt.Errorf("unknown: %q", word)
		}
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
	return lines.Err()
}

// store is that of the example with users, a client and keys of our own.
type store struct {
	*storage.Storage
	mu   sync.Mutex
	keys []*pair // the last one signs
}

func newStore() (*store, error) {
	storage.RegisterClients(storage.WebClient(clientID, clientSecret, redirect))
	s := &store{Storage: storage.NewStorage(users{})}
	return s, s.rotate(jose.RS256)
}

// What the mail program has at the issuer.
const (
	clientID     = "mail-programs"
	clientSecret = "secret"
	redirect     = "http://localhost:9999/auth/callback"
)

// users are those that there are.
type users struct{}

var people = map[string]*storage.User{
	"id-joe": {ID: "id-joe", Username: "joe", Password: "joe's password", FirstName: "Joe", LastName: "Smith", Email: "joe@example.com", EmailVerified: true},
	"id-ann": {ID: "id-ann", Username: "ann", Password: "ann's password", FirstName: "Ann", LastName: "Smith", Email: "ann@example.com"},
}

func (users) GetUserByID(id string) *storage.User { return people[id] }

func (users) GetUserByUsername(name string) *storage.User { return people["id-"+name] }

func (users) ExampleClientID() string { return clientID }

// client gets JWTs for access tokens, and ID tokens that say who it is.
type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (client) IDTokenUserinfoClaimsAssertion() bool { return true }

// GetClientByClientID returns the client of an identifier.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// GetPrivateClaimsFromScopes returns what an access token says of its user.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, userID, _ string, scopes []string) (map[string]any, error) {
	claims := map[string]any{"scope": strings.Join(scopes, " ")}
	if u := people[userID]; u != nil {
		claims["email"], claims["email_verified"] = u.Email, u.EmailVerified
		claims["preferred_username"] = u.Username
		claims["realm_access"] = map[string]any{"roles": []string{"senders", "staff"}}
	}
	return claims, nil
}

// pair is a key pair that signs tokens; its public half is published.
type pair struct {
	id        string
	algorithm jose.SignatureAlgorithm
	key       crypto.Signer
}

func (p *pair) ID() string { return p.id }

func (p *pair) SignatureAlgorithm() jose.SignatureAlgorithm { return p.algorithm }

func (p *pair) Key() any { return p.key }

// published is the public half.
type published struct{ *pair }

func (p published) Algorithm() jose.SignatureAlgorithm { return p.algorithm }

func (p published) Use() string { return "sig" }

func (p published) Key() any { return p.key.Public() }

// rotate makes a new pair, which signs from now on.
func (s *store) rotate(algorithm jose.SignatureAlgorithm) error {
	var key crypto.Signer
	var err error
	switch algorithm {
	case jose.RS256, jose.PS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no keys for %q", algorithm)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, &pair{fmt.Sprintf("key-%d", len(s.keys)+1), algorithm, key})
	return nil
}

// withdraw takes all keys back but the last.
func (s *store) withdraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[len(s.keys)-1:]
}

// SigningKey returns the pair that signs.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

// SignatureAlgorithms returns the algorithms that are announced.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}, nil
}

// KeySet returns the keys that are published.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set []op.Key
	for _, p := range s.keys {
		set = append(set, published{p})
	}
	return set, nil
}

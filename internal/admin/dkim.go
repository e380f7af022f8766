package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/alignment"
	"postern/internal/dkim"
)

// No private key is in any answer, nor is there one that has it written anywhere.

func (s *Server) keyOperations() {
	answer(s, huma.Operation{OperationID: "dkim-keys", Method: http.MethodGet, Path: "/v1/dkim/keys",
		Summary: "All keys for signatures (DKIM)"}, s.keys)
	answer(s, huma.Operation{OperationID: "add-dkim-key", Method: http.MethodPost, Path: "/v1/dkim/keys",
		Summary: "Make the first keys of a domain, or take one that is brought"}, s.addKey)
	act(s, huma.Operation{OperationID: "remove-dkim-key", Method: http.MethodDelete, Path: "/v1/dkim/keys/{domain}/{selector}",
		Summary: "Remove a key"}, s.removeKey)
	answer(s, huma.Operation{OperationID: "rotate-dkim-keys", Method: http.MethodPost, Path: "/v1/dkim/rotations",
		Summary: "Make the next keys of a domain, which become active when DNS has their records, or now"}, s.rotateKeys)
	answer(s, huma.Operation{OperationID: "dkim-domain", Method: http.MethodGet, Path: "/v1/dkim/domains/{domain}",
		Summary: "The keys of a domain, with the records to publish"}, s.keysOf)
	answer(s, huma.Operation{OperationID: "check-dkim-domain", Method: http.MethodGet, Path: "/v1/dkim/domains/{domain}/check",
		Summary: "Compare DNS with the keys of a domain, and ask whether SPF and DMARC let its mail through"}, s.checkDomain)
}

type domainInput struct {
	Domain string `path:"domain" maxLength:"253" doc:"The domain whose mail is signed"`
}

type removeKeyInput struct {
	Domain   string `path:"domain" maxLength:"253" doc:"The domain of the key"`
	Selector string `path:"selector" maxLength:"253" doc:"The selector of the key"`
	Force    bool   `query:"force" doc:"Remove it although mail is signed by it"`
}

type keyOrderInput struct{ Body dkim.KeyOrder }

// refusedKey is the problem of what was refused.
func refusedKey(err error) error {
	return refused(err, "No such key", dkim.ErrNotFound, dkim.ErrNoDomain)
}

func (s *Server) keys(context.Context, *struct{}) ([]dkim.KeyInfo, error) { return s.Keys.List(), nil }

func (s *Server) addKey(ctx context.Context, in *keyOrderInput) ([]dkim.KeyInfo, error) {
	made, err := s.Keys.Add(actor(ctx), in.Body)
	return made, refusedKey(err)
}

func (s *Server) removeKey(ctx context.Context, in *removeKeyInput) error {
	return refusedKey(s.Keys.Remove(actor(ctx), in.Domain, in.Selector, in.Force))
}

func (s *Server) rotateKeys(ctx context.Context, in *keyOrderInput) ([]dkim.KeyInfo, error) {
	next, err := s.Keys.Rotate(actor(ctx), in.Body)
	return next, refusedKey(err)
}

func (s *Server) keysOf(_ context.Context, in *domainInput) ([]dkim.KeyInfo, error) {
	list, err := s.Keys.Of(in.Domain)
	return list, refusedKey(err)
}

// checkTime bounds the questions about a domain: the client has patience for the answer, and where no name server
// answers that is what it is to hear.
const checkTime = patience - 10*time.Second

func (s *Server) checkDomain(ctx context.Context, in *domainInput) (alignment.Alignment, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	r, err := s.Alignment(ctx, in.Domain)
	if err != nil {
		return alignment.Alignment{}, refusedKey(err)
	}
	return *r, nil
}

// Keys asks for all keys for signatures.
func (c *Client) Keys(ctx context.Context) (list []dkim.KeyInfo, err error) {
	return list, c.get(ctx, request{method: http.MethodGet, path: "/v1/dkim/keys"}, &list)
}

// AddKey has the first keys of a domain made.
func (c *Client) AddKey(ctx context.Context, o dkim.KeyOrder) (made []dkim.KeyInfo, err error) {
	return made, c.get(ctx, post("/v1/dkim/keys", o), &made)
}

// RotateKeys has the next keys of a domain made.
func (c *Client) RotateKeys(ctx context.Context, o dkim.KeyOrder) (next []dkim.KeyInfo, err error) {
	return next, c.get(ctx, post("/v1/dkim/rotations", o), &next)
}

// RemoveKey has a key removed.
func (c *Client) RemoveKey(ctx context.Context, domain, selector string, force bool) error {
	r := request{method: http.MethodDelete, path: "/v1/dkim/keys/" + url.PathEscape(domain) + "/" + url.PathEscape(selector)}
	if force {
		r.values = url.Values{"force": {"true"}}
	}
	return c.tell(ctx, r)
}

// KeysOf asks for the keys of a domain. Errors: a Problem with status 404 when it has none.
func (c *Client) KeysOf(ctx context.Context, domain string) (list []dkim.KeyInfo, err error) {
	return list, c.get(ctx, request{method: http.MethodGet, path: domainPath(domain)}, &list)
}

// CheckDomain has DNS compared with the keys of a domain.
func (c *Client) CheckDomain(ctx context.Context, domain string) (r alignment.Alignment, err error) {
	return r, c.get(ctx, request{method: http.MethodGet, path: domainPath(domain) + "/check"}, &r)
}

func domainPath(domain string) string { return "/v1/dkim/domains/" + url.PathEscape(domain) }

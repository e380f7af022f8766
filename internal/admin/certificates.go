package admin

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/certs"
)

// No private key is in any answer: `postern cert export --key` reads it from its file,
// as who may read that, and only tells the server.

func (s *Server) certificateOperations() {
	answer(s, huma.Operation{OperationID: "certificates", Method: http.MethodGet, Path: "/v1/certificates",
		Summary: "All certificates: those in files, those by ACME, and those of the store"}, s.certificates)
	answer(s, huma.Operation{OperationID: "make-certificate", Method: http.MethodPost, Path: "/v1/certificates",
		Summary: "Make a certificate, a request for one, an authority, or the answer to a request"}, s.makeCertificate)
	answer(s, huma.Operation{OperationID: "certificate", Method: http.MethodGet, Path: "/v1/certificates/{name}",
		Summary: "One certificate, with its PEM"}, s.certificate)
	answer(s, huma.Operation{OperationID: "import-certificate", Method: http.MethodPut, Path: "/v1/certificates/{name}",
		Summary: "Store a certificate with its key, or the answer to a request"}, s.importCertificate)
	act(s, huma.Operation{OperationID: "remove-certificate", Method: http.MethodDelete, Path: "/v1/certificates/{name}",
		Summary: "Remove a certificate of the store, with its key"}, s.removeCertificate)
	act(s, huma.Operation{OperationID: "note-key-export", Method: http.MethodPost, Path: "/v1/certificates/{name}/key-export",
		Summary: "Have it in the journal that a private key is taken out of the store; the key itself is not answered"}, s.noteKeyExport)
	act(s, huma.Operation{OperationID: "assign-certificates", Method: http.MethodPut, Path: "/v1/listeners/{name}/certificates",
		Summary: "Give a listener that names no certificates those of the store, in the place of what it has"}, s.assignCertificates)
}

// certificateName names a certificate in a path.
type certificateName struct {
	Name string `path:"name" maxLength:"64" doc:"The name of a certificate"`
}

// refusedCertificate is the problem of what was refused.
func refusedCertificate(err error) error {
	return refused(err, "No such certificate", certs.ErrNotFound)
}

func (s *Server) certificates(context.Context, *struct{}) ([]certs.Info, error) {
	return s.Certificates.List(), nil
}

func (s *Server) certificate(_ context.Context, in *certificateName) (certs.Made, error) {
	m, err := s.Certificates.Show(in.Name)
	return m, refusedCertificate(err)
}

type orderInput struct{ Body certs.Order }

func (s *Server) makeCertificate(ctx context.Context, in *orderInput) (certs.Made, error) {
	m, err := s.Certificates.Make(actor(ctx), in.Body)
	return m, refusedCertificate(err)
}

type bundleInput struct {
	Name string `path:"name" maxLength:"64" doc:"The name of a certificate"`
	Body certs.Bundle
}

func (s *Server) importCertificate(ctx context.Context, in *bundleInput) (certs.Info, error) {
	i, err := s.Certificates.Import(actor(ctx), in.Name, in.Body)
	return i, refusedCertificate(err)
}

func (s *Server) removeCertificate(ctx context.Context, in *certificateName) error {
	return refusedCertificate(s.Certificates.Remove(actor(ctx), in.Name))
}

func (s *Server) noteKeyExport(ctx context.Context, in *certificateName) error {
	return refusedCertificate(s.Certificates.Exporting(actor(ctx), in.Name))
}

// assignment are the certificates that a listener is to have.
type assignment struct {
	Certificates []string `json:"certificates" maxItems:"100" doc:"Their names; the first is for clients that ask for no name"`
}

type assignInput struct {
	Name string `path:"name" maxLength:"64" doc:"The name of a listener"`
	Body assignment
}

func (s *Server) assignCertificates(ctx context.Context, in *assignInput) error {
	return refusedCertificate(s.Certificates.Assign(actor(ctx), in.Name, in.Body.Certificates))
}

// Certificates asks for all certificates.
func (c *Client) Certificates(ctx context.Context) (list []certs.Info, err error) {
	return list, c.get(ctx, request{method: http.MethodGet, path: "/v1/certificates"}, &list)
}

// Certificate asks for one. Errors: a Problem with status 404 when there is none.
func (c *Client) Certificate(ctx context.Context, name string) (m certs.Made, err error) {
	return m, c.get(ctx, request{method: http.MethodGet, path: certificatePath(name)}, &m)
}

// MakeCertificate has one made.
func (c *Client) MakeCertificate(ctx context.Context, o certs.Order) (m certs.Made, err error) {
	return m, c.get(ctx, post("/v1/certificates", o), &m)
}

// ImportCertificate hands one over.
func (c *Client) ImportCertificate(ctx context.Context, name string, b certs.Bundle) (i certs.Info, err error) {
	return i, c.get(ctx, request{method: http.MethodPut, path: certificatePath(name), body: b}, &i)
}

// RemoveCertificate has one removed.
func (c *Client) RemoveCertificate(ctx context.Context, name string) error {
	return c.tell(ctx, request{method: http.MethodDelete, path: certificatePath(name)})
}

// NoteKeyExport tells that a private key is taken out.
func (c *Client) NoteKeyExport(ctx context.Context, name string) error {
	return c.tell(ctx, post(certificatePath(name)+"/key-export", nil))
}

// AssignCertificates gives a listener its certificates.
func (c *Client) AssignCertificates(ctx context.Context, listener string, names []string) error {
	return c.tell(ctx, request{method: http.MethodPut, path: "/v1/listeners/" + url.PathEscape(listener) + "/certificates", body: assignment{names}})
}

func certificatePath(name string) string { return "/v1/certificates/" + url.PathEscape(name) }

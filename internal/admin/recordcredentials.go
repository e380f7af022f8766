package admin

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/mail"
)

// Credential is a credential as the API has it: what is secret in it is written and never told.
type Credential struct {
	directory.Credential
	// Tenant is that of Microsoft 365, of which the URL for tokens follows.
	Tenant       string  `json:"tenant,omitempty" writeOnly:"true" doc:"Of Microsoft 365: the URL for tokens follows of it"`
	Password     *string `json:"password,omitempty" writeOnly:"true" doc:"Never told"`
	ClientSecret *string `json:"client_secret,omitempty" writeOnly:"true" doc:"Never told; an empty one takes it away"`
	ClientKey    *string `json:"client_key,omitempty" writeOnly:"true" doc:"A private key in PEM, or the file of a service account of Google. Never told; an empty one takes it away"`
	RefreshToken *string `json:"refresh_token,omitempty" writeOnly:"true" doc:"Never told; an empty one takes it away"`
	// Secrets are the names of those that are recorded.
	Secrets []string `json:"secrets,omitempty" readOnly:"true" doc:"The names of the secrets that it has"`
	// Troubles are why it cannot be used at present, as far as a server that runs knows.
	Troubles []credentials.Trouble `json:"troubles,omitempty" readOnly:"true" doc:"Why it cannot be used at present; none while nothing is known against it"`
}

// String returns the name: all else may have a secret in it.
func (c Credential) String() string { return c.Key().String() }

// GoString returns the same, for the verb %#v.
func (c Credential) GoString() string { return c.String() }

// credentialOf returns a record as the API has it, with those of the troubles that are its own.
func credentialOf(r *directory.Credential, troubles []credentials.Trouble) Credential {
	c := Credential{Credential: *r}
	c.Hosts, c.Mechanisms, c.Scopes = slices.Clone(r.Hosts), slices.Clone(r.Mechanisms), slices.Clone(r.Scopes)
	for _, f := range c.Sealed() {
		if *f.Value != "" {
			c.Secrets = append(c.Secrets, f.Name)
			*f.Value = "" // the API has not even what is sealed
		}
	}
	for _, t := range troubles {
		if t.Credential == r.Name {
			c.Troubles = append(c.Troubles, t)
		}
	}
	return c
}

// troubles are those of all credentials.
func (s *Server) troubles() []credentials.Trouble {
	if s.Records.Troubles == nil {
		return nil
	}
	return s.Records.Troubles()
}

// draft is the credential with what is secret in it, to be recorded.
func (c *Credential) draft() credentials.Draft {
	d := credentials.Draft{Record: c.Credential, Tenant: c.Tenant, Secrets: make(map[string]mail.Secret)}
	for field, text := range map[string]*string{"password": c.Password, "client_secret": c.ClientSecret, "client_key": c.ClientKey, "refresh_token": c.RefreshToken} {
		if text != nil {
			d.Secrets[field] = mail.Secret(*text)
		}
	}
	return d
}

func (s *Server) credentialRecords() noun[Credential] {
	return noun[Credential]{
		kind: directory.KindCredential, many: "credentials", unfiled: true,
		page: func(r *directory.Reader, after RecordName, limit int) ([]Credential, error) {
			found, err := r.Credentials(after.Name, limit)
			page, troubles := make([]Credential, len(found)), s.troubles()
			for i := range found {
				page[i] = credentialOf(&found[i], troubles)
			}
			return page, err
		},
		key: func(c *Credential) directory.Key { return c.Key() },
		get: func(from reader, k directory.Key) (Credential, bool) {
			r, found := credentialIn(from, k.Name)
			return credentialOf(&r, s.troubles()), found
		},
		put: func(tx *directory.Tx, c *Credential) error { return s.Records.Keys().Put(tx, c.draft()) },
		stored: func(s *Server, c *Credential) {
			if s.Records.CredentialChanged != nil {
				s.Records.CredentialChanged(c.Name)
			}
		},
		remove: func(tx *directory.Tx, k directory.Key) error { return tx.DeleteCredential(k.Name) },
		blank: func() Credential {
			return Credential{Credential: directory.Credential{Kind: directory.CredentialPassword}}
		},
		matches: func(c *Credential, text string) bool {
			return contains(c.Name, text) || contains(c.User, text) || contains(c.Note, text) ||
				slices.ContainsFunc(c.Hosts, func(h string) bool { return contains(h, text) })
		},
	}
}

// credentialIn returns a credential of the directory, or of a change of it.
func credentialIn(from reader, name string) (directory.Credential, bool) {
	if tx, is := from.(*directory.Tx); is {
		return tx.Credential(name)
	}
	if d, is := from.(*directory.Directory); is {
		if r := d.Credential(name); r != nil {
			return *r, true
		}
	}
	return directory.Credential{}, false
}

// Rekeyed is how many credentials were sealed anew.
type Rekeyed struct {
	Credentials int `json:"credentials"`
}

// CredentialTest says at which server a login is tried.
type CredentialTest struct {
	Host      string `json:"host" minLength:"1" maxLength:"255" doc:"The server, as a route would name it: a name or an address"`
	Port      int    `json:"port,omitempty" minimum:"0" maximum:"65535" doc:"Without one, that of the server in the transport, or 587 where it has none"`
	Transport string `json:"transport,omitempty" maxLength:"64" doc:"The transport whose settings count; without it those of deliveries in general"`
}

// CredentialTested is what came of it.
type CredentialTested struct {
	Credential string    `json:"credential" doc:"The name of the record"`
	User       string    `json:"user"`
	Address    string    `json:"address,omitempty" doc:"Where the server was reached"`
	TLS        *mail.TLS `json:"tls,omitempty"`
	Mechanism  string    `json:"mechanism,omitempty"`
	// Error is why the login failed; empty when it did not.
	Error string `json:"error,omitempty"`
}

type credentialTestInput struct{ Body CredentialTest }

func (s *Server) credentialOperations() {
	answer(s, huma.Operation{OperationID: "rekey-credentials", Method: http.MethodPost, Path: "/v1/credential-keys",
		Summary: "Seal the secrets of all credentials under a new key"}, s.rekey)
	answer(s, huma.Operation{OperationID: "test-credential", Method: http.MethodPost, Path: "/v1/credential-tests",
		Summary: "Log in at a server as deliveries do, and send nothing"}, s.testCredential)
}

func (s *Server) rekey(ctx context.Context, _ *struct{}) (Rekeyed, error) {
	n, err := s.Records.Keys().Rekey(ctx, s.Records.Directory, actor(ctx))
	return Rekeyed{n}, err
}

func (s *Server) testCredential(ctx context.Context, in *credentialTestInput) (CredentialTested, error) {
	return s.Records.TestLogin(ctx, in.Body)
}

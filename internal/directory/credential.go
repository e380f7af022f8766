package directory

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// CredentialKind is how a credential is proved.
type CredentialKind string

// The kinds of credentials.
const (
	CredentialPassword CredentialKind = "password"
	CredentialOAuth    CredentialKind = "oauth" // by tokens that another server issues
)

// Preset is what is known of a service that issues tokens.
type Preset string

// The presets; the empty one knows nothing.
const (
	PresetMicrosoft Preset = "microsoft365"
	PresetGoogle    Preset = "google"
)

// Credential is what this host proves to others who it is with. What is secret in it is
// sealed by whoever records it: the Directory neither knows nor needs the key.
type Credential struct {
	Name string         `json:"name"`
	Kind CredentialKind `json:"kind"`
	// User is the name that is said; of a credential by tokens the mailbox.
	User string `json:"user"`
	// Hosts are the servers that it is for: a name, an address, or "*.example.com" for
	// all names below one. No other credential has the same.
	Hosts []string `json:"hosts,omitempty"`
	// Mechanisms are those that may be used, in that order; none: all, the strongest first.
	Mechanisms []string `json:"mechanisms,omitempty"`
	// WithoutVerification says that it may be shown to a server that has not proved to
	// be the right one.
	WithoutVerification bool `json:"without_verification,omitempty"`

	// What follows is of a credential by tokens.
	Preset   Preset   `json:"preset,omitempty"`
	TokenURL string   `json:"token_url,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	// Certificate is that of the client key, in PEM: it is shown to the issuer.
	Certificate string `json:"certificate,omitempty"`
	// KeyID is the name that the issuer has for the client key.
	KeyID string `json:"key_id,omitempty"`

	Password     string `json:"-"`
	ClientSecret string `json:"-"`
	ClientKey    string `json:"-"`
	RefreshToken string `json:"-"`

	Note    string    `json:"note,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Changed time.Time `json:"changed,omitzero"`
}

// Bounds of a credential; lengths are in octets.
const (
	MaxCredentialHosts = 100
	MaxScopes          = 20
	MaxScope           = 255
	MaxTokenURL        = 1000
	MaxClientID        = 255
	MaxSealed          = 24 << 10 // a secret that is sealed
	MaxPEM             = 16 << 10 // of a certificate
)

// Key returns the key of the record.
func (c *Credential) Key() Key { return Key{Kind: KindCredential, Name: c.Name} }

// String returns the name.
func (c *Credential) String() string { return c.Key().String() }

// SealedField is one of the secrets of a credential.
type SealedField struct {
	Name  string // in JSON
	Value *string
}

// Sealed returns the secrets of a credential, as they are sealed.
func (c *Credential) Sealed() []SealedField {
	return []SealedField{
		{"password", &c.Password}, {"client_secret", &c.ClientSecret},
		{"client_key", &c.ClientKey}, {"refresh_token", &c.RefreshToken},
	}
}

// normalCredential returns a credential in the form in which it is recorded, or what is
// wrong in it. No text of that has a secret in it.
func normalCredential(r Credential) (Credential, error) {
	r.Name = strings.ToLower(r.Name)
	c := check{key: r.Key()}
	if !mail.IsTransportName(r.Name) {
		c.wrong("name", `write a word of letters, digits, "-" and "_" that begins with a letter, such as "office"`, "%q is no name", clip(r.Name))
	}
	if r.User == "" {
		c.wrong("user", "write the name that the server's operator gave you; with tokens, the address of the mailbox", "is missing")
	}
	c.text("user", r.User, MaxLogin)
	r.Hosts = c.texts("hosts", r.Hosts, MaxCredentialHosts, c.host)
	r.Mechanisms = c.mechanisms(&r)
	c.text("note", r.Note, MaxNote)
	switch r.Kind {
	case CredentialPassword:
		c.byPassword(&r)
	case CredentialOAuth:
		c.byTokens(&r)
	default:
		c.wrong("kind", "write password or oauth", "%q is no kind of credential", clip(string(r.Kind)))
	}
	for _, f := range r.Sealed() {
		if len(*f.Value) > MaxSealed {
			c.wrong(f.Name, "write a shorter one", "has %d octets when it is sealed, the limit is %d", len(*f.Value), MaxSealed)
		}
	}
	return r, c.err()
}

// host is one that a credential is for.
func (c *check) host(field, s string) (string, bool) {
	const hint = `write a name such as "smtp.example.com", an address, or "*.example.com"`
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.Unmap().String(), true
	}
	domain, below := strings.CutPrefix(s, "*.")
	name, err := DomainName(domain)
	switch {
	case err != nil:
		c.wrong(field, hint, "%q: %v", clip(s), err)
		return "", false
	case below && !strings.Contains(name, "."):
		c.wrong(field, hint, "%q is a large part of the Internet, and all of it would get the secret", clip(s))
		return "", false
	case below:
		name = "*." + name
	}
	return name, true
}

// mechanisms wants those by which a credential of the kind can be proved.
func (c *check) mechanisms(r *Credential) []string {
	known := mail.PasswordMechanisms
	if r.Kind == CredentialOAuth {
		known = mail.TokenMechanisms
	}
	return c.texts("mechanisms", r.Mechanisms, len(known), func(field, s string) (string, bool) {
		s = strings.ToUpper(s)
		if !slices.Contains(known, s) {
			c.wrong(field, "write some of "+strings.Join(known, ", "), "%q proves no %s", clip(s), r.Kind)
			return "", false
		}
		return s, true
	})
}

func (c *check) byPassword(r *Credential) {
	if r.Password == "" {
		c.wrong("password", "give it one (postern credential set NAME --password)", "is missing")
	}
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"preset", r.Preset != ""}, {"token_url", r.TokenURL != ""}, {"client_id", r.ClientID != ""}, {"scopes", len(r.Scopes) > 0},
		{"certificate", r.Certificate != ""}, {"key_id", r.KeyID != ""}, {"client_secret", r.ClientSecret != ""},
		{"client_key", r.ClientKey != ""}, {"refresh_token", r.RefreshToken != ""},
	} {
		if f.is {
			c.wrong(f.name, "leave it out, or write oauth as the kind", "is of no use with a password")
		}
	}
}

func (c *check) byTokens(r *Credential) {
	if r.Password != "" {
		c.wrong("password", "take it away, or write password as the kind", "is of no use with tokens")
	}
	switch r.Preset {
	case "", PresetMicrosoft, PresetGoogle:
	default:
		c.wrong("preset", fmt.Sprintf("write %s or %s, or leave it out", PresetMicrosoft, PresetGoogle), "%q is not known", clip(string(r.Preset)))
	}
	c.tokenURL(r.TokenURL)
	if r.ClientID == "" {
		c.wrong("client_id", "write the one under which the issuer of the tokens knows this server", "is missing")
	}
	c.text("client_id", r.ClientID, MaxClientID)
	r.Scopes = c.texts("scopes", r.Scopes, MaxScopes, c.scope)
	c.text("key_id", r.KeyID, MaxClientID)
	if len(r.Certificate) > MaxPEM {
		c.wrong("certificate", "write that of the key alone", "has %d octets, the limit is %d", len(r.Certificate), MaxPEM)
	}
	switch {
	case r.ClientSecret != "" && r.ClientKey != "":
		c.wrong("client_secret", "take one of them away", "is there, and a client key too")
	case r.ClientSecret == "" && r.ClientKey == "" && r.RefreshToken == "":
		c.wrong("client_secret", "give it one of a client secret, a client key and a refresh token", "is missing, and so is all else by which tokens are had")
	case r.Preset == PresetGoogle && r.ClientKey == "" && r.RefreshToken == "":
		c.wrong("client_secret", "give it the key of a service account, or a refresh token", "is not enough for tokens of Google")
	}
}

func (c *check) tokenURL(s string) {
	const hint = `write a URL such as "https://login.example.com/oauth2/token"`
	if !c.text("token_url", s, MaxTokenURL) {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		c.wrong("token_url", hint, "%q is no URL of HTTPS", clip(s))
	}
}

// scope is a token of RFC 6749 3.3.
func (c *check) scope(field, s string) (string, bool) {
	if len(s) > MaxScope || !isGraphic(s) || s == "" || strings.ContainsAny(s, `"\`) {
		c.wrong(field, "write the names of scopes, each by itself", "%q is no scope", clip(s))
		return "", false
	}
	return s, true
}

func credentialFields(r *Credential) []field {
	fields := []field{
		{name: "kind", value: string(r.Kind)}, {name: "user", value: r.User},
		{name: "hosts", value: strings.Join(r.Hosts, " ")}, {name: "mechanisms", value: strings.Join(r.Mechanisms, " ")},
		{name: "without_verification", value: strconv.FormatBool(r.WithoutVerification)},
		{name: "preset", value: string(r.Preset)}, {name: "token_url", value: r.TokenURL}, {name: "client_id", value: r.ClientID},
		{name: "scopes", value: strings.Join(r.Scopes, " ")}, {name: "certificate", value: r.Certificate, secret: true},
		{name: "key_id", value: r.KeyID},
	}
	for _, f := range r.Sealed() {
		fields = append(fields, field{name: f.Name, value: *f.Value, secret: true})
	}
	return append(fields, field{name: "note", value: r.Note})
}

const (
	credentialColumns = `name, kind, account, hosts, mechanisms, unverified, preset, token_url, client_id, scopes,
		certificate, key_id, password, client_secret, client_key, refresh_token, note, created, changed`
	selectCredentials = `SELECT ` + credentialColumns + ` FROM credentials`
	putCredential     = `INSERT INTO credentials (` + credentialColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, account = excluded.account, hosts = excluded.hosts,
			mechanisms = excluded.mechanisms, unverified = excluded.unverified, preset = excluded.preset,
			token_url = excluded.token_url, client_id = excluded.client_id, scopes = excluded.scopes,
			certificate = excluded.certificate, key_id = excluded.key_id, password = excluded.password,
			client_secret = excluded.client_secret, client_key = excluded.client_key,
			refresh_token = excluded.refresh_token, note = excluded.note, changed = excluded.changed`
)

func credentialValues(r *Credential) []any {
	return []any{
		r.Name, string(r.Kind), r.User, joinLines(r.Hosts), joinLines(r.Mechanisms), bit(r.WithoutVerification), string(r.Preset),
		r.TokenURL, r.ClientID, joinLines(r.Scopes), r.Certificate, r.KeyID, r.Password, r.ClientSecret, r.ClientKey,
		r.RefreshToken, r.Note, millis(r.Created), millis(r.Changed),
	}
}

func scanCredential(rows *sql.Rows) (Credential, error) {
	var r Credential
	var hosts, mechanisms, scopes string
	var unverified, created, changed int64
	err := rows.Scan(&r.Name, &r.Kind, &r.User, &hosts, &mechanisms, &unverified, &r.Preset, &r.TokenURL, &r.ClientID, &scopes,
		&r.Certificate, &r.KeyID, &r.Password, &r.ClientSecret, &r.ClientKey, &r.RefreshToken, &r.Note, &created, &changed)
	r.Hosts, r.Mechanisms, r.Scopes = splitLines(hosts), splitLines(mechanisms), splitLines(scopes)
	r.WithoutVerification, r.Created, r.Changed = unverified != 0, fromMillis(created), fromMillis(changed)
	return r, err
}

func (l *loader) credential(rows *sql.Rows) error {
	r, err := scanCredential(rows)
	l.image.putCredential(&r)
	return err
}

// Credential returns a credential as it is in the change.
func (tx *Tx) Credential(name string) (Credential, bool) {
	name = strings.ToLower(name)
	return inChange(tx, Key{Kind: KindCredential, Name: name}, func() (Credential, bool) {
		if r := tx.d.Credential(name); r != nil {
			return *r, true
		}
		return Credential{}, false
	})
}

// Credentials returns the names of all credentials as they are in the change.
func (tx *Tx) Credentials() []string {
	names := make(map[string]bool)
	for _, name := range tx.d.CredentialNames() {
		names[name] = true
	}
	for _, k := range tx.order {
		if k.Kind == KindCredential {
			names[k.Name] = tx.records[k] != nil
		}
	}
	maps.DeleteFunc(names, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(names))
}

// PutCredential creates a credential, or replaces the one with that name. Its secrets are
// sealed. It fails with Problems.
func (tx *Tx) PutCredential(r Credential) error {
	r, err := normalCredential(r)
	if err != nil {
		return err
	}
	e := edit{key: r.Key(), record: &r, after: credentialFields(&r)}
	r.Created, r.Changed = fromMillis(millis(tx.now)), fromMillis(millis(tx.now))
	if before, exists := tx.Credential(r.Name); exists {
		r.Created = before.Created
		if e.before = credentialFields(&before); slices.Equal(e.before, e.after) {
			return nil
		}
	}
	return tx.edit(e, putCredential, credentialValues(&r)...)
}

// Reseal replaces the secrets of a credential by the same, sealed otherwise: nothing has
// changed of which a fact could tell.
func (tx *Tx) Reseal(r Credential) error {
	if _, exists := tx.Credential(r.Name); !exists {
		return notFound(r.Key())
	}
	if err := tx.exec(putCredential, credentialValues(&r)...); err != nil {
		return err
	}
	tx.set(r.Key(), &r)
	return nil
}

// DeleteCredential removes a credential. It fails with ErrNotFound.
func (tx *Tx) DeleteCredential(name string) error {
	r, found := tx.Credential(name)
	if !found {
		return notFound(Key{Kind: KindCredential, Name: name})
	}
	return tx.edit(edit{key: r.Key(), before: credentialFields(&r)}, `DELETE FROM credentials WHERE name = ?`, r.Name)
}

// credentialHosts wants that no other credential is for the same.
func (c *consistency) credentialHosts(r *Credential) {
	for _, h := range r.Hosts {
		other := c.hosts[h]
		if recorded := read(c.tx.d, func(m *image) string { return m.credentialOf[h] }); other == "" && recorded != r.Name {
			if _, changed := c.tx.records[Key{Kind: KindCredential, Name: recorded}]; !changed {
				other = recorded
			}
		}
		if other != "" && other != r.Name {
			c.wrong("hosts", "leave it to one of them", "%q is a host of credential %q too", clip(h), other)
		}
		c.hosts[h] = r.Name
	}
}

func (m *image) putCredential(r *Credential) {
	m.removeCredential(r.Name)
	m.credentials[r.Name] = r
	for _, h := range r.Hosts {
		m.credentialOf[h] = r.Name
	}
}

func (m *image) removeCredential(name string) {
	r := m.credentials[name]
	if r == nil {
		return
	}
	for _, h := range r.Hosts {
		if m.credentialOf[h] == name {
			delete(m.credentialOf, h)
		}
	}
	delete(m.credentials, name)
}

// Credential returns the credential of a name, nil if there is none. Nobody may change it:
// it is another one as soon as the record changes.
func (d *Directory) Credential(name string) *Credential {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.image.credentials[strings.ToLower(name)]
}

// CredentialNames returns the names of all credentials, in order.
func (d *Directory) CredentialNames() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Sorted(maps.Keys(d.image.credentials))
}

// CredentialFor returns the credential that is for a host, by its name or address, or by the
// longest pattern that it matches; nil if there is none. Nobody may change it.
func (d *Directory) CredentialFor(host string) *Credential {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	d.mu.RLock()
	defer d.mu.RUnlock()
	if name, found := d.image.credentialOf[host]; found {
		return d.image.credentials[name]
	}
	for rest, found := cutLabel(host); found; rest, found = cutLabel(rest) {
		if name, known := d.image.credentialOf["*."+rest]; known {
			return d.image.credentials[name]
		}
	}
	return nil
}

// cutLabel takes the first label off a name.
func cutLabel(name string) (rest string, found bool) {
	_, rest, found = strings.Cut(name, ".")
	return rest, found
}

// IsFor reports whether a credential is for a host, by its name or address.
func (c *Credential) IsFor(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	return slices.ContainsFunc(c.Hosts, func(h string) bool {
		domain, below := strings.CutPrefix(h, "*")
		return h == host || below && strings.HasSuffix(host, domain)
	})
}

// Credentials returns up to limit credentials, at most MaxPage, whose names come after one.
func (r *Reader) Credentials(after string, limit int) (list []Credential, err error) {
	err = r.page(selectCredentials+` WHERE name > ? ORDER BY name LIMIT ?`, func(rows *sql.Rows) error {
		c, err := scanCredential(rows)
		list = append(list, c)
		return err
	}, after, min(limit, MaxPage))
	return list, err
}

// Reseal changes the secrets of a credential as change does with it, if that reports true, and
// returns the record as it is then, nil for none. It is no fact: nobody has changed anything.
func (d *Directory) Reseal(ctx context.Context, name string, change func(r *Credential) (bool, error)) (*Credential, error) {
	err := d.transact(ctx, "", func(tx *Tx) error {
		r, found := tx.Credential(name)
		if !found {
			return nil
		}
		if changed, err := change(&r); err != nil || !changed {
			return err
		}
		return tx.Reseal(r)
	})
	return d.Credential(name), err
}

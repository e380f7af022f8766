package certs

import (
	"cmp"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Keeper is what commands ask: it lists all certificates, and changes those of the
// Store.
type Keeper struct {
	Store *Store
	// Others returns those that are not in the Store.
	Others func() []Info
	// Users returns the listeners whose settings name a certificate.
	Users func(name string) []string
	// Listener refuses a listener to which no certificates can be assigned.
	Listener func(name string) error
	// Changed is told what was changed, and by whom. It may be nil.
	Changed func(actor, text string)
	Clock   mail.Clock
}

// Making is a way to make a certificate.
type Making string

// The ways.
const (
	MakeSelfSigned Making = "self-signed"
	MakeRequest    Making = "request"
	MakeAuthority  Making = "authority"
	MakeIssued     Making = "issued"
)

// Order says what is to be made.
type Order struct {
	Making    Making   `json:"making" enum:"self-signed,request,authority,issued" doc:"How: for itself, as a request for another authority, as an authority, or signed by one of here"`
	Name      string   `json:"name,omitempty" maxLength:"32" doc:"What it is called here; none for the answer to a request, which is not kept"`
	Title     string   `json:"title,omitempty" maxLength:"64" doc:"Of an authority: what others call it"`
	Names     []string `json:"names,omitempty" maxItems:"100" doc:"The host names for which it is to be valid"`
	Addresses []string `json:"addresses,omitempty" maxItems:"100" doc:"The IP addresses for which it is to be valid"`
	Emails    []string `json:"emails,omitempty" maxItems:"100" doc:"The mail addresses for which it is to be valid"`
	Client    bool     `json:"client,omitempty" doc:"It is for a client, and not for a server"`
	Key       KeyKind  `json:"key,omitempty" enum:",ecdsa,rsa,ed25519" doc:"The kind of its key; ecdsa by default"`
	Days      int      `json:"days,omitempty" minimum:"0" maximum:"36500" doc:"For how long; 365 by default, 3650 for an authority"`
	Authority string   `json:"authority,omitempty" maxLength:"32" doc:"The authority of here that signs it"`
	Request   string   `json:"request,omitempty" maxLength:"65536" doc:"The request (PKCS #10, PEM) of somebody who has the key"`
	Replace   bool     `json:"replace,omitempty" doc:"Replace one of that name"`
}

// Made is what was made.
type Made struct {
	Info
	// PEM is the certificate with those of its issuers, or the request.
	PEM string `json:"pem" doc:"The certificate, or the request; never a key"`
}

// Bundle is what somebody brings.
type Bundle struct {
	Certificate string `json:"certificate" maxLength:"1000000" doc:"The certificate and those of its issuers, in PEM"`
	Key         string `json:"key,omitempty" maxLength:"65536" doc:"Its private key, in PEM; none for the answer to a request"`
	Replace     bool   `json:"replace,omitempty" doc:"Replace one of that name"`
}

// The usual lifetimes, in days.
const (
	usualDays     = 365
	usualDaysOfCA = 3650
)

func (k *Keeper) changed(actor, format string, args ...any) {
	if k.Changed != nil {
		k.Changed(actor, fmt.Sprintf(format, args...))
	}
}

// List returns all certificates: those of the configuration, then those of the Store.
func (k *Keeper) List() []Info {
	list := k.Others()
	if list == nil {
		list = []Info{}
	}
	for _, e := range k.Store.Entries() {
		list = append(list, k.info(&e))
	}
	return list
}

func (k *Keeper) info(e *Entry) Info {
	i := NewInfo(e.Name, FromStore, e.Certificate)
	i.File, i.Pending, i.Listeners = k.Store.file(e.Name, storeSuffix), e.Request != nil, append(k.Users(e.Name), k.Store.Listeners(e.Name)...)
	if e.Err != nil {
		i.Problem = e.Err.Error()
	}
	return i
}

// Show returns what is known of one, with its PEM if it is in the Store: the certificate, or as long
// as there is none its request. Errors: ErrNotFound.
func (k *Keeper) Show(name string) (Made, error) {
	e, err := k.Store.Entry(name)
	if err == nil {
		m := Made{Info: k.info(&e)}
		if e.Certificate != nil {
			m.PEM = string(EncodeChain(e.Certificate))
		} else if e.Request != nil {
			m.PEM = encodeRequest(e.Request.Raw)
		}
		return m, nil
	}
	for _, i := range k.Others() {
		if i.Name == name {
			return Made{Info: i}, nil
		}
	}
	return Made{}, err
}

func encodeRequest(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// free refuses a name that the configuration has.
func (k *Keeper) free(name string) error {
	if slices.ContainsFunc(k.Others(), func(i Info) bool { return i.Name == name }) {
		return fmt.Errorf("%s: %w, in the configuration", name, ErrExists)
	}
	return CheckName(name)
}

// Make makes a certificate, or a request for one. Errors: ErrName, ErrExists, ErrFull, ErrNotFound,
// ErrNotCA, ErrFormat.
func (k *Keeper) Make(actor string, o Order) (Made, error) {
	if o.Making == MakeIssued && o.Request != "" {
		return k.answer(actor, o)
	}
	if err := k.free(o.Name); err != nil {
		return Made{}, err
	}
	options, err := k.options(o)
	if err != nil {
		return Made{}, err
	}
	if o.Making == MakeRequest {
		return k.request(actor, o, options)
	}
	c, err := k.make(o, options)
	if err != nil {
		return Made{}, err
	}
	if err := k.Store.Put(o.Name, &c, o.Replace); err != nil {
		return Made{}, err
	}
	k.changed(actor, "%s made (%s): %s", o.Name, o.Making, brief(&c))
	return k.Show(o.Name)
}

// brief is a certificate in a few words.
func brief(c *tls.Certificate) string {
	return fmt.Sprintf("for %s, valid until %s, SHA-256 %.16s...", Title(c.Leaf), c.Leaf.NotAfter.UTC().Format(time.RFC3339), Fingerprint(c.Leaf))
}

func (k *Keeper) options(o Order) (Options, error) {
	key, err := NewKey(o.Key)
	if err != nil {
		return Options{}, err
	}
	options := Options{Names: o.Names, Emails: o.Emails, Client: o.Client, Key: key, Clock: k.Clock, Lifetime: lifetime(o)}
	for _, text := range o.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return Options{}, fmt.Errorf("certs: %.50q is no IP address", text)
		}
		options.Addresses = append(options.Addresses, a.Unmap())
	}
	return options, nil
}

func lifetime(o Order) time.Duration {
	usual := usualDays
	if o.Making == MakeAuthority {
		usual = usualDaysOfCA
	}
	return time.Duration(cmp.Or(o.Days, usual)) * 24 * time.Hour
}

func (k *Keeper) make(o Order, options Options) (tls.Certificate, error) {
	switch o.Making {
	case MakeSelfSigned:
		return SelfSigned(options)
	case MakeAuthority:
		return NewAuthority(o.Title, options)
	case MakeIssued:
		authority, err := k.authority(o.Authority)
		if err != nil {
			return tls.Certificate{}, err
		}
		return Issue(authority, options)
	}
	return tls.Certificate{}, fmt.Errorf("certs: %.20q is no way to make a certificate", o.Making)
}

// authority is one of the Store.
func (k *Keeper) authority(name string) (*tls.Certificate, error) {
	e, err := k.Store.Entry(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w; `postern cert ca init` makes an authority", err)
	case e.Certificate == nil || !e.Certificate.Leaf.IsCA:
		return nil, fmt.Errorf("%s: %w", name, ErrNotCA)
	case k.Clock.Now().After(e.Certificate.Leaf.NotAfter):
		return nil, fmt.Errorf("%s: %w; make another authority", name, ErrExpired)
	}
	return e.Certificate, nil
}

func (k *Keeper) request(actor string, o Order, options Options) (Made, error) {
	der, key, err := NewRequest(options)
	if err != nil {
		return Made{}, err
	}
	if err := k.Store.PutRequest(o.Name, der, key); err != nil {
		return Made{}, err
	}
	k.changed(actor, "%s: a request was made for %s", o.Name, strings.Join(slices.Concat(o.Names, o.Addresses, o.Emails), ", "))
	m, err := k.Show(o.Name)
	m.PEM = encodeRequest(der)
	return m, err
}

// answer signs the request of somebody. The certificate is not kept: its key is not
// here.
func (k *Keeper) answer(actor string, o Order) (Made, error) {
	authority, err := k.authority(o.Authority)
	if err != nil {
		return Made{}, err
	}
	r, err := parseRequest("the request", []byte(o.Request))
	if err != nil {
		return Made{}, err
	}
	c, err := IssueFor(authority, r, Options{Client: o.Client, Clock: k.Clock, Lifetime: lifetime(o)})
	if err != nil {
		return Made{}, err
	}
	k.changed(actor, "%s answered a request: %s", o.Authority, brief(&c))
	return Made{Info: NewInfo("", FromStore, &c), PEM: string(EncodeChain(&c))}, nil
}

// Import stores what somebody brings: a certificate with its key, or the answer to a
// request. Errors: ErrName, ErrExists, ErrFull, ErrNotFound, ErrNoKey, ErrFormat, ErrMismatch, ErrExpired.
func (k *Keeper) Import(actor, name string, b Bundle) (Info, error) {
	if err := k.free(name); err != nil {
		return Info{}, err
	}
	p, err := Parse("the certificate", []byte(b.Certificate), "")
	if err == nil && b.Key != "" {
		p.Key, err = parseKeyPEM("the key", []byte(b.Key))
	}
	switch {
	case err != nil:
		return Info{}, err
	case p.Leaf == nil:
		return Info{}, &Error{File: "the certificate", Reason: ErrFormat, Detail: "there is no certificate in it"}
	}
	if err := checkTime("the certificate", p.Leaf, k.Clock.Now()); errors.Is(err, ErrExpired) {
		return Info{}, err
	}
	if p.Key == nil {
		err = k.Store.Answer(name, p.Chain, p.Leaf)
	} else {
		err = k.put(name, p, b.Replace)
	}
	if err != nil {
		return Info{}, err
	}
	k.changed(actor, "%s imported: %s", name, brief(&tls.Certificate{Leaf: p.Leaf}))
	m, err := k.Show(name)
	return m.Info, err
}

func (k *Keeper) put(name string, p Parsed, replace bool) error {
	c, err := p.Certificate("the key")
	if err != nil {
		return err
	}
	return k.Store.Put(name, &c, replace)
}

// Remove removes a certificate of the Store, with its key. Errors: ErrNotFound, ErrInUse.
func (k *Keeper) Remove(actor, name string) error {
	if users := k.Users(name); len(users) > 0 {
		return fmt.Errorf("%s: %w, %s, in the configuration; change that first", name, ErrInUse, users[0])
	}
	err := k.Store.Remove(name)
	if err == nil {
		k.changed(actor, "%s removed", name)
	}
	return err
}

// Assign gives a listener that names no certificates those of these names, in the place of
// what it has. Errors: ErrNotFound, ErrCA, ErrPending, and that of Listener.
func (k *Keeper) Assign(actor, listener string, names []string) error {
	if err := k.Listener(listener); err != nil {
		return err
	}
	err := k.Store.Assign(listener, names)
	if err == nil {
		k.changed(actor, "listener %s has the certificates: %s", listener, cmp.Or(strings.Join(names, ", "), "none"))
	}
	return err
}

// Exporting notes that somebody takes a private key out. Errors: ErrNotFound.
func (k *Keeper) Exporting(actor, name string) error {
	_, err := k.Store.Entry(name)
	if err == nil {
		k.changed(actor, "%s: the private key was taken out", name)
	}
	return err
}

// Key returns a certificate with its private key, in PEM. Errors: ErrNotFound, ErrPending.
func (s *Store) Key(name string) ([]byte, error) {
	e, err := s.Entry(name)
	switch {
	case err != nil:
		return nil, err
	case e.Certificate == nil:
		return nil, fmt.Errorf("%s: %w", name, cmp.Or(e.Err, ErrPending))
	}
	return encodeBoth(e.Certificate)
}

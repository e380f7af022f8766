package directory

import (
	"net/netip"
	"time"

	"postern/internal/mail"
)

// Kind is what a record is.
type Kind string

// The kinds of records.
const (
	KindUser   Kind = "user"
	KindDomain Kind = "domain"
	KindAlias  Kind = "alias"
	KindList   Kind = "list"
	KindBan    Kind = "ban"
	// KindCredential is a credential of this host.
	KindCredential Kind = "credential"
)

// Key names a record: by its login, name, address or subject, in the form in which these
// are compared. Owner is that of a personal alias, and empty for all else.
type Key struct {
	Kind  Kind
	Name  string
	Owner string
}

// String returns the kind and the name: "user joe", "alias mates@example.com of joe".
func (k Key) String() string {
	s := string(k.Kind) + " " + k.Name
	if k.Owner != "" {
		s += " of " + k.Owner
	}
	return s
}

// User is who may use this host, a person or an application. With neither password nor SCRAM
// key it is known by its certificate or network only.
type User struct {
	Login string `json:"login"`
	// Password is a hash in the form of PHC, of argon2id.
	Password string `json:"password,omitempty"`
	// SCRAM is "SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY", in base64 (RFC 5803).
	SCRAM   string `json:"scram,omitempty"`
	Enabled bool   `json:"enabled"`
	// Expires is when the account ends; zero is never.
	Expires  time.Time     `json:"expires,omitzero"`
	Services mail.Services `json:"services"`
	// Addresses it may send as: an address, or "*@domain". The first, unless it has a
	// "*", is its own, at which it gets mail; no other user has the same.
	Addresses []string `json:"addresses,omitempty"`
	// Delegates are the logins of those whose addresses it may use too.
	Delegates []string           `json:"delegates,omitempty"`
	Limits    mail.AccountLimits `json:"limits,omitzero"`
	// Language is a language tag (RFC 5646), such as "de".
	Language string   `json:"language,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	// Networks from which a client is this user without saying so. No other user has
	// the same network; of several that an address is in, the smallest counts.
	Networks []netip.Prefix `json:"networks,omitempty"`
	// Certificates with which a client is this user: "sha256:" and the fingerprint in
	// hexadecimal, or "dns:" and "email:" with a name that a verified one has.
	Certificates []string `json:"certificates,omitempty"`
	// Route is the name of the transport by which what it sends leaves; empty: the one
	// that the routes choose.
	Route string `json:"route,omitempty"`
	// Class is the priority class of what it sends; empty: it has none of its own.
	Class string `json:"class,omitempty"`
	Note  string `json:"note,omitempty"`
	// Created and Changed are set by the Directory.
	Created time.Time `json:"created,omitzero"`
	Changed time.Time `json:"changed,omitzero"`
	// LastUsed is when it was authenticated last, and FailedLogins how often that has
	// failed since. They change by Used and LoginFailed, and no Put changes them.
	LastUsed     time.Time `json:"last_used,omitzero"`
	FailedLogins int       `json:"failed_logins,omitempty"`
}

// Usable reports whether a user may be authenticated at a time.
func (u *User) Usable(now time.Time) bool {
	return u.Enabled && (u.Expires.IsZero() || now.Before(u.Expires))
}

// Key returns the key of the record.
func (u *User) Key() Key { return Key{Kind: KindUser, Name: u.Login} }

// Domain is a local domain: this host is responsible for who is in it.
type Domain struct {
	Name string `json:"name"`
	// AliasOf is the domain of which this is another name; empty for none. Each address
	// here stands for the one with the same local part there.
	AliasOf string `json:"alias_of,omitempty"`
}

// Key returns the key of the record.
func (d *Domain) Key() Key { return Key{Kind: KindDomain, Name: d.Name} }

// Alias is an address in a local domain that stands for others.
type Alias struct {
	// Address is "@example.com" for every address of a domain that is nothing else.
	Address string `json:"address"`
	// Owner is the login of the user whose personal alias it is: it stands for others
	// in what that user sends, and is nothing to all else. Empty: a system alias.
	Owner   string   `json:"owner,omitempty"`
	Targets []string `json:"targets"`
}

// Key returns the key of the record.
func (a *Alias) Key() Key { return Key{Kind: KindAlias, Name: a.Address, Owner: a.Owner} }

// ListKind is what a list is of.
type ListKind string

// The kinds of lists. All but the first are asked by policy.
const (
	Distribution ListKind = "distribution" // addresses that get what is sent to the list's
	Networks     ListKind = "networks"
	Domains      ListKind = "domains"
	Addresses    ListKind = "addresses"
	Patterns     ListKind = "patterns"
)

// Posters are who may send to a distribution list.
type Posters string

// Who may send.
const (
	Everybody Posters = "everybody"
	Members   Posters = "members"  // whose address is an entry, or stands for its own by an alias
	Accounts  Posters = "accounts" // who is authenticated
)

// List is a distribution list, or a list for policy.
type List struct {
	Name string   `json:"name"`
	Kind ListKind `json:"kind"`
	// Address, Owner and Posters are those of a distribution list. Owner is the address
	// that gets what goes wrong.
	Address string  `json:"address,omitempty"`
	Owner   string  `json:"owner,omitempty"`
	Posters Posters `json:"posters,omitempty"`
	// Entries are sorted.
	Entries []string `json:"entries,omitempty"`
}

// Key returns the key of the record.
func (l *List) Key() Key { return Key{Kind: KindList, Name: l.Name} }

// Ban keeps a client or an account out for a while.
type Ban struct {
	// Subject is "address:192.0.2.1", "address:2001:db8::/64" or "account:joe".
	Subject string    `json:"subject"`
	Since   time.Time `json:"since"`
	// Until is when it ends; zero is when it is lifted.
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Count is how often the subject was banned, one after the other.
	Count int `json:"count,omitempty"`
}

// Key returns the key of the record.
func (b *Ban) Key() Key { return Key{Kind: KindBan, Name: b.Subject} }

// Active reports whether the ban holds at a time.
func (b *Ban) Active(now time.Time) bool { return b.Until.IsZero() || now.Before(b.Until) }

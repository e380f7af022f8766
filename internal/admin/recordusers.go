package admin

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/mail"
)

// User is a user as the API has it: as directory.User, but that nothing it says is secret.
type User struct {
	Login     string             `json:"login" doc:"Compared without regard to case"`
	Enabled   bool               `json:"enabled"`
	Expires   time.Time          `json:"expires,omitzero" doc:"When the account ends; never without it"`
	Services  mail.Services      `json:"services" doc:"What it may do: submit (to addresses of this host), relay (to anywhere), pop"`
	Addresses []string           `json:"addresses,omitempty" doc:"It may send as these: an address, or *@domain; the first is its own"`
	Delegates []string           `json:"delegates,omitempty" doc:"Logins whose addresses it may use too"`
	Limits    mail.AccountLimits `json:"limits,omitzero" doc:"0 or nothing is no limit"`
	Language  string             `json:"language,omitempty"`
	Groups    []string           `json:"groups,omitempty"`
	Networks  []netip.Prefix     `json:"networks,omitempty" doc:"A client from there is this user without saying so"`
	// Certificates are as in directory.User.
	Certificates []string `json:"certificates,omitempty" doc:"A client with one of these is this user: sha256:FINGERPRINT, dns:NAME, email:ADDRESS"`
	Route        string   `json:"route,omitempty" doc:"The transport by which what it sends leaves; without it the routes choose"`
	Class        string   `json:"class,omitempty" doc:"The priority class of what it sends"`
	Note         string   `json:"note,omitempty"`
	// Password is written and never told.
	Password     *string   `json:"password,omitempty" writeOnly:"true" doc:"Never told; an empty one takes it away"`
	HasPassword  bool      `json:"has_password" readOnly:"true"`
	Created      time.Time `json:"created,omitzero" readOnly:"true"`
	Changed      time.Time `json:"changed,omitzero" readOnly:"true"`
	LastUsed     time.Time `json:"last_used,omitzero" readOnly:"true"`
	FailedLogins int       `json:"failed_logins,omitempty" readOnly:"true" doc:"Since it was authenticated last"`

	sealed sealed
}

// sealed is what is stored of a password.
type sealed struct{ hash, scram string }

// String returns the login: all else may have a secret in it.
func (u User) String() string { return "user " + u.Login }

// GoString returns the same, for the verb %#v.
func (u User) GoString() string { return u.String() }

var users = noun[User]{
	kind: directory.KindUser,
	many: "users",
	page: func(r *directory.Reader, after RecordName, limit int) ([]User, error) {
		if login, err := directory.Login(after.Name); err == nil {
			after.Name = login
		}
		found, err := r.Users(after.Name, limit)
		page := make([]User, len(found))
		for i := range found {
			page[i] = userOf(&found[i])
		}
		return page, err
	},
	get: func(from reader, k directory.Key) (User, bool) {
		u, found := from.User(k.Name)
		return userOf(&u), found
	},
	put:    func(tx *directory.Tx, u *User) error { return tx.PutUser(u.record()) },
	remove: func(tx *directory.Tx, k directory.Key) error { return tx.DeleteUser(k.Name) },
	blank:  func() User { return User{Enabled: true, Services: mail.Services{Submit: true, Relay: true}} },
	key:    func(u *User) directory.Key { return directory.Key{Kind: directory.KindUser, Name: u.Login} },
	prepare: func(ctx context.Context, s *Server, u *User) error {
		if err := s.checkRoute(u.Route); err != nil {
			return err
		}
		return s.seal(ctx, u)
	},
	take: func(u, prepared *User) {
		if prepared.Password != nil {
			u.sealed = prepared.sealed
		}
	},
	advise: func(_ context.Context, _ *Server, u *User) (unwise []string) {
		for _, p := range u.Networks {
			if found, _, wrong := config.JudgeTrust(p); wrong && u.Services.Relay {
				unwise = append(unwise, found.Message)
			}
		}
		return unwise
	},
	matches: func(u *User, text string) bool {
		return contains(u.Login, text) || slices.ContainsFunc(u.Addresses, func(a string) bool { return contains(a, text) }) || contains(u.Note, text) || contains(u.Route, text)
	},
}

// contains reports whether a text is in another, in whatever case.
func contains(s, text string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(text))
}

// routeIsKnown wants a route that is given to a user to be there: his mail would wait.
func (s *Server) routeIsKnown(name string) error {
	if name == "" || s.Transports == nil {
		return nil
	}
	return s.hasTransport(name)
}

// checkRoute is the same for one user.
func (s *Server) checkRoute(name string) error {
	if err := s.routeIsKnown(name); err != nil {
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "Not possible", Detail: "route: " + err.Error()}
	}
	return nil
}

// seal makes what is stored of a password that was given.
func (s *Server) seal(ctx context.Context, u *User) (err error) {
	if u.Password == nil || *u.Password == "" {
		return nil
	}
	u.sealed.hash, u.sealed.scram, err = s.Records.Seal(ctx, *u.Password)
	if errors.Is(err, ErrBusy) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "Not possible", Detail: err.Error()}
	}
	return nil
}

// userOf is a user as the API has it. Nothing in it is shared.
func userOf(u *directory.User) User {
	return User{
		Login: u.Login, Enabled: u.Enabled, Expires: u.Expires, Services: u.Services, Addresses: slices.Clone(u.Addresses),
		Delegates: slices.Clone(u.Delegates), Limits: u.Limits, Language: u.Language, Groups: slices.Clone(u.Groups),
		Networks: slices.Clone(u.Networks), Certificates: slices.Clone(u.Certificates), Route: u.Route, Class: u.Class, Note: u.Note,
		HasPassword: u.Password != "" || u.SCRAM != "", Created: u.Created, Changed: u.Changed, LastUsed: u.LastUsed, FailedLogins: u.FailedLogins,
		sealed: sealed{u.Password, u.SCRAM},
	}
}

// record is the user as the directory has it.
func (u *User) record() directory.User {
	return directory.User{
		Login: u.Login, Password: u.sealed.hash, SCRAM: u.sealed.scram, Enabled: u.Enabled, Expires: u.Expires, Services: u.Services,
		Addresses: u.Addresses, Delegates: u.Delegates, Limits: u.Limits, Language: u.Language, Groups: u.Groups,
		Networks: u.Networks, Certificates: u.Certificates, Route: u.Route, Class: u.Class, Note: u.Note,
	}
}

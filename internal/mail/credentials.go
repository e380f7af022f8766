package mail

// Secret is a text that no log, error or listing may show: however it is
// printed or marshalled, it reads as a placeholder. To use it, convert it to
// a string, at the one place that needs it.
type Secret string

const noSecret = "[secret]"

// String returns a placeholder.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return noSecret
}

// GoString returns a placeholder, for the verb %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText returns a placeholder, for JSON and for logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Credentials are what this server proves to the next one who it is with.
// The zero value is none. Two that are equal may share a connection.
type Credentials struct {
	// Name is that of the record which has them, for whoever looks for the cause.
	Name string
	User string
	// Password or Token is what is proved or shown: one of them.
	Password Secret
	// Token is an access token (RFC 6750), shown by the mechanisms of TokenMechanisms.
	Token Secret
	// Mechanisms are those of SASL that may be used, in the order in which they are
	// chosen, separated by spaces; empty: all, the strongest first.
	Mechanisms string
	// Unverified says that they may be shown to a server that has not proved to be the
	// right one.
	Unverified bool
}

// IsZero reports whether there are none.
func (c Credentials) IsZero() bool { return c == Credentials{} }

// CredentialError says that there is nothing to show to a server at present. It is
// always temporary: mail that needs the credentials waits.
type CredentialError struct {
	// Name is that of the record.
	Name string
	// Reply is for the sender, who need not know of the record. The zero one says no more
	// than that there are none.
	Reply Reply
	// Cause is why, for whoever looks after the record.
	Cause error
}

// Error names the record.
func (e *CredentialError) Error() string { return "credential " + e.Name + ": " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *CredentialError) Unwrap() error { return e.Cause }

// Mechanisms of SASL by which a client proves who it is with (RFC 4954), as a server
// offers them.
const (
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS" // RFC 7677, bound to the channel
	ScramSHA256     = "SCRAM-SHA-256"      // RFC 7677
	ScramSHA1Plus   = "SCRAM-SHA-1-PLUS"   // RFC 5802, bound to the channel
	ScramSHA1       = "SCRAM-SHA-1"        // RFC 5802
	AuthPlain       = "PLAIN"              // RFC 4616
	AuthLogin       = "LOGIN"              // in no RFC
	OAuthBearer     = "OAUTHBEARER"        // RFC 7628
	XOAuth2         = "XOAUTH2"            // of Google, and of Microsoft
)

// PasswordMechanisms prove a password, TokenMechanisms show a token; the strongest first.
var (
	PasswordMechanisms = []string{ScramSHA256Plus, ScramSHA256, ScramSHA1Plus, ScramSHA1, AuthPlain, AuthLogin}
	TokenMechanisms    = []string{OAuthBearer, XOAuth2}
)

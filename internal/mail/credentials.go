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
	User     string
	Password Secret
}

// IsZero reports whether there are none.
func (c Credentials) IsZero() bool { return c == Credentials{} }

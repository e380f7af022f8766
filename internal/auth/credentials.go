package auth

import "fmt"

// Credentials are what is stored of a password: enough to verify it, and not to know it.
type Credentials struct {
	// Password is a hash by argon2id, as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH.
	Password string
	// SCRAM are the keys of SCRAM-SHA-256, as SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER.
	SCRAM string
}

// NewCredentials makes those of a password. It takes some 50 ms and 19 MiB of memory.
// Errors: those of Prepare.
func NewCredentials(password string) (Credentials, error) {
	prepared, err := Prepare(password)
	if err != nil {
		return Credentials{}, err
	}
	keys, err := newKeys(prepared)
	if err != nil {
		return Credentials{}, err
	}
	h := newHash(prepared)
	return Credentials{Password: h.String(), SCRAM: keys.Text()}, nil
}

// Check says what is wrong with credentials that another program has made; one of the
// two, or both, may be empty. The errors do not repeat them.
func (c Credentials) Check() error {
	if c.Password != "" {
		if _, err := parseHash(c.Password); err != nil {
			return fmt.Errorf("the password cannot be taken: %w", err)
		}
	}
	if c.SCRAM != "" {
		if _, err := ParseKeys(c.SCRAM); err != nil {
			return fmt.Errorf("the SCRAM keys cannot be taken: %w", err)
		}
	}
	return nil
}

// Outdated reports whether new credentials of the same password would be stronger, so
// that they are to be made again when the password is known: the next time that it is
// verified.
func (c Credentials) Outdated() bool {
	h, err := parseHash(c.Password)
	if err != nil || h.memory < standard.memory || h.passes < standard.passes {
		return true
	}
	keys, err := ParseKeys(c.SCRAM)
	return err != nil || keys.Iterations < iterations
}

// String returns a placeholder: what it stands for is a secret.
func (c Credentials) String() string { return "[secret]" }

// GoString returns a placeholder, for the verb %#v.
func (c Credentials) GoString() string { return "[secret]" }

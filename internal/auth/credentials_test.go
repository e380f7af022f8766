package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
)

func TestCredentials(t *testing.T) {
	c, err := NewCredentials(password)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil || c.Outdated() {
		t.Errorf("new credentials: %v; outdated: %v", err, c.Outdated())
	}
	h := NewHasher(1, mail.SystemClock{})
	if err := h.Verify(t.Context(), c.Password, password); err != nil {
		t.Errorf("the right password: %v", err)
	}
	if err := h.Verify(t.Context(), c.Password, password+" "); !errors.Is(err, ErrInvalid) {
		t.Errorf("a wrong one: %v", err)
	}
	if again, err := NewCredentials(password); err != nil || again == c {
		t.Errorf("the same password has the same credentials twice (%v)", err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", c, c, c, c); strings.Contains(shown, "$") {
		t.Errorf("credentials are shown: %s", shown)
	}
}

// A hash by another program: "printf 'correct horse' | argon2 somesalt -id -t 2 -k 4096
// -p 2 -e", of the reference implementation (RFC 9106).
const foreignHash = "$argon2id$v=19$m=4096,t=2,p=2$c29tZXNhbHQ$2azoCwSu9gA2AmSW1hAPee6Tj2eFRBsO56AkmSIllt8"

func TestHashOfAnotherProgram(t *testing.T) {
	h := NewHasher(1, mail.SystemClock{})
	if err := h.Verify(t.Context(), foreignHash, password); err != nil {
		t.Errorf("the right password: %v", err)
	}
	if err := h.Verify(t.Context(), foreignHash, "wrong"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a wrong one: %v", err)
	}
	if !(Credentials{Password: foreignHash}).Outdated() {
		t.Error("a hash that cost less is not outdated")
	}
}

func TestCredentialsThatCannotBeTaken(t *testing.T) {
	tests := map[string]Credentials{
		"by argon2id":     {Password: "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"},
		"version of":      {Password: "$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"},
		"in this order":   {Password: "$argon2id$v=19$t=2,m=19456,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"},
		"cost at most":    {Password: "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"},
		"its salt must":   {Password: "$argon2id$v=19$m=19456,t=2,p=1$c29tZ$AAAAAAAAAAAAAAAAAAAAAA"},
		"its hash must":   {Password: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAA"},
		"keys of SCRAM":   {SCRAM: "SCRAM-SHA-1$4096:c29tZXNhbHQ=$AAAA:AAAA"},
		"iterations must": {SCRAM: "SCRAM-SHA-256$1000:c29tZXNhbHQ=$AAAA:AAAA"},
		"in base64":       {SCRAM: "SCRAM-SHA-256$4096:c29tZXNhbHQ=$AAAA:AAAA"},
	}
	for want, c := range tests {
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said of what is wrong: %v", want, err)
		}
		if !c.Outdated() {
			t.Errorf("%s: it is not outdated", want)
		}
	}
}

// SASLprep (RFC 4013), and OpaqueString (RFC 8265 4.2) for what it does not know.
func TestPrepare(t *testing.T) {
	for in, want := range map[string]string{
		"plain":              "plain",
		"I\u00adX":           "IX",               // RFC 4013 3, example 1
		"\u00aa":             "a",                // example 4
		"pass\u00a0word":     "pass word",        // any space is one
		"caf\u0065\u0301":    "caf\u00e9",        // composed
		"\U0001f511 emoji":   "\U0001f511 emoji", // not in Unicode 3.2
		" spaces are kept  ": " spaces are kept  ",
	} {
		if got, err := Prepare(in); got != want || err != nil {
			t.Errorf("Prepare(%q) = %q, %v, not %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "\u00ad", "a\x00b", "tab\t", "line\n", "\x7f", "\xff", strings.Repeat("x", MaxPassword+1)} {
		if got, err := Prepare(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("Prepare(%q) = %q, %v, not an error", in, got, err)
		}
	}
}

// So many are computed at a time and so many wait; the others are not kept waiting.
func TestHasherIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(1, mail.SystemClock{})
		h.places <- struct{}{} // somebody computes
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, queued)
		for range queued {
			go func() { ended <- h.Nobody(ctx, "ann", password) }()
		}
		synctest.Wait()
		if err := h.Nobody(ctx, "ann", password); !errors.Is(err, ErrBusy) {
			t.Errorf("one more: %v, not %v", err, ErrBusy)
		}
		cancel()
		for range queued {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("one that waited: %v", err)
			}
		}
		if n := h.Computed(); n != 0 {
			t.Errorf("%d hashes were computed", n)
		}
	})
}

// A password that was right is known for an hour, and not when it has been changed.
func TestVerifiedIsKnown(t *testing.T) {
	clock := mail.NewManualClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	h := NewHasher(1, clock)
	hashed, other := newHash(password), newHash("changed")
	for i, step := range []struct {
		hash, password string
		after          time.Duration
		right          bool
		computed       int64 // so far
	}{
		{hashed.String(), password, 0, true, 1},
		{hashed.String(), password, 59 * time.Minute, true, 1},
		{hashed.String(), "wrong", 0, false, 2},
		{hashed.String(), "wrong", 0, false, 2}, // nor is one that was wrong computed again
		{other.String(), password, 0, false, 3},
		{hashed.String(), password, time.Minute, true, 4},
	} {
		clock.Advance(step.after)
		if err := h.Verify(t.Context(), step.hash, step.password); (err == nil) != step.right || h.Computed() != step.computed {
			t.Errorf("step %d: %v after %d hashes, not right=%v after %d", i, err, h.Computed(), step.right, step.computed)
		}
	}
	if h.Known() != 1 {
		t.Errorf("%d were known, not 1", h.Known())
	}
}

// What one hash costs: the figures are in docs/authentication.md.
func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newHash(password)
	}
}

func BenchmarkKeys(b *testing.B) {
	for b.Loop() {
		if _, err := newKeys(password); err != nil {
			b.Fatal(err)
		}
	}
}

package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"postern/internal/mail"
)

// queued is how many may wait for each hash that is computed: some two seconds.
const queued = 64

// A password that was right is known to be right for verifiedFor, without a hash being
// computed; of so many at a time, 100 octets each.
const (
	verifiedFor  = time.Hour
	mostVerified = 50_000
)

// Hasher verifies passwords against hashes: a few at a time, because each takes 19 MiB
// of memory and a processor of its own. Some more wait, the others are told to come
// again. A password that it has verified within the hour it knows by a keyed sum: a
// device that logs in for every message costs one hash an hour. The sum is over the hash
// as well, so that it is of no use once the password has been changed. One that was wrong
// it knows likewise: the same again does not count as a guess, so that nobody is banned
// for it, and must not cost anything either. It is safe for use by several goroutines.
type Hasher struct {
	places   chan struct{} // a token that whoever computes holds
	waiting  atomic.Int64
	queue    int64
	computed atomic.Int64
	known    atomic.Int64
	nobody   hash // for passwords of nobody

	key      [32]byte
	verified *recent[[sha256.Size]byte, struct{}]
	refused  *recent[[sha256.Size]byte, struct{}]
}

// NewHasher returns one that computes so many hashes at a time; 0 means as many as there
// are processors, but four at most.
func NewHasher(atOnce int, clock mail.Clock) *Hasher {
	if atOnce == 0 {
		atOnce = min(runtime.GOMAXPROCS(0), 4)
	}
	h := &Hasher{
		places:   make(chan struct{}, atOnce),
		queue:    int64(atOnce * queued),
		nobody:   hash{cost: standard, salt: make([]byte, saltLength), sum: make([]byte, hashLength)},
		verified: newRecent[[sha256.Size]byte, struct{}](mostVerified, verifiedFor, clock),
		refused:  newRecent[[sha256.Size]byte, struct{}](mostVerified, verifiedFor, clock),
	}
	rand.Read(h.key[:])
	return h
}

// Verify compares a password, as Prepare returns it, with a hash in the format of PHC.
// Errors: ErrInvalid, ErrBusy, that of the context; that of a hash that cannot be read.
func (h *Hasher) Verify(ctx context.Context, hash, password string) error {
	stored, err := parseHash(hash)
	if err != nil {
		return fmt.Errorf("the hash of the password that is stored cannot be used: %w", err)
	}
	sum := h.sum(hash, password)
	if _, known := h.verified.get(sum); known {
		h.known.Add(1)
		return nil
	}
	right, err := h.compare(ctx, &stored, password, sum)
	if err == nil && !right {
		err = ErrInvalid
	}
	if err == nil {
		h.verified.put(sum, struct{}{})
	}
	return err
}

// Nobody is Verify for a user that there is not, or that has no password: it takes as
// long, and fails with ErrInvalid.
func (h *Hasher) Nobody(ctx context.Context, user, password string) error {
	if _, err := h.compare(ctx, &h.nobody, password, h.sum("", user+"\x00"+password)); err != nil {
		return err
	}
	return ErrInvalid
}

// compare computes the hash of a password, unless it is known to be wrong.
func (h *Hasher) compare(ctx context.Context, stored *hash, password string, sum [sha256.Size]byte) (right bool, err error) {
	if _, known := h.refused.get(sum); known {
		return false, nil
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	if right = stored.matches(password); !right {
		h.refused.put(sum, struct{}{})
	}
	return right, nil
}

// sum is what is remembered of a password that was right or wrong for a hash.
func (h *Hasher) sum(hash, password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, h.key[:])
	mac.Write([]byte(hash + "\x00" + password))
	mac.Sum(sum[:0])
	return sum
}

// Make makes new credentials, within the same bounds. Errors: those of Prepare, ErrBusy,
// that of the context.
func (h *Hasher) Make(ctx context.Context, password string) (Credentials, error) {
	if err := h.enter(ctx); err != nil {
		return Credentials{}, err
	}
	defer h.leave()
	return NewCredentials(password)
}

func (h *Hasher) enter(ctx context.Context) error {
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.places <- struct{}{}:
		h.computed.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) leave() { <-h.places }

// Computed is how many hashes were computed so far.
func (h *Hasher) Computed() int64 { return h.computed.Load() }

// Known is how many passwords were known to be right, without a hash being computed.
func (h *Hasher) Known() int64 { return h.known.Load() }

package auth

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
)

// queued is how many may wait for each hash that is computed.
const queued = 64

// Hasher verifies passwords against hashes: a few at a time, because each takes 19 MiB
// of memory and a processor of its own. Some more wait, the others are told to come
// again. It is safe for use by several goroutines.
type Hasher struct {
	places   chan struct{} // a token that whoever computes holds
	waiting  atomic.Int64
	queue    int64
	computed atomic.Int64
	nobody   hash // for passwords of nobody
}

// NewHasher returns one that computes so many hashes at a time; 0 means as many as there
// are processors, but four at most.
func NewHasher(atOnce int) *Hasher {
	if atOnce == 0 {
		atOnce = min(runtime.GOMAXPROCS(0), 4)
	}
	return &Hasher{
		places: make(chan struct{}, atOnce),
		queue:  int64(atOnce * queued),
		nobody: hash{cost: standard, salt: make([]byte, saltLength), sum: make([]byte, hashLength)},
	}
}

// Verify compares a password, as Prepare returns it, with a hash in the format of PHC;
// an empty one matches nothing and takes as long. Errors: ErrInvalid, ErrBusy, that of the
// context; that of a hash that cannot be read.
func (h *Hasher) Verify(ctx context.Context, hash, password string) error {
	stored := h.nobody
	if hash != "" {
		var err error
		if stored, err = parseHash(hash); err != nil {
			return fmt.Errorf("the hash of the password that is stored cannot be used: %w", err)
		}
	}
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	if !stored.matches(password) || hash == "" {
		return ErrInvalid
	}
	return nil
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

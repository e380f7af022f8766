package queue

import "errors"

// The errors of the contract.
var (
	// ErrFull says that there is no room; nothing was stored.
	ErrFull = errors.New("the queue is full")
	// ErrUnknown says that a commit failed and nobody knows whether it is
	// durable. The process must end without another reply.
	ErrUnknown = errors.New("a commit to the queue failed and its outcome is unknown")
	// ErrFenced says that a lease was lost and may belong to somebody else.
	ErrFenced = errors.New("the lease was lost")
	// ErrNotFound says that there is no such entry, body or mark.
	ErrNotFound = errors.New("not in the queue")
	// ErrDamaged says that stored bytes fail their check.
	ErrDamaged = errors.New("stored data is damaged")
	// ErrClosed says that the store is closed.
	ErrClosed = errors.New("the queue is closed")
	// ErrInvalid says that what was to be stored breaks the contract: an
	// unknown state, a settlement whose outcomes do not fit its lease.
	ErrInvalid = errors.New("invalid for the queue")
)

// Package quarantine is about the mail that is kept apart until a person has
// judged it. It is mail like any other in the queue: held, with the reason
// "quarantine", recipient by recipient. What judges it, and what it means to
// release or to delete it, is elsewhere (admin, by edits of the queue).
//
// The Keeper looks after what is there: it counts it, removes what nobody has
// judged in time, and tells somebody of what came. An Item is what a person is
// shown of a message in a line or two; nothing in it is active.
//
// The Keeper fails only when the store's commit does (queue.ErrUnknown). Any
// other failure is logged, and what was to be done is tried again.
package quarantine

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// everything is the expression of package filter for all that is there.
const everything = "state = held and hold = quarantine"

// Where narrows an expression of package filter to what is in quarantine; ""
// is all of that.
func Where(filter string) string {
	if filter == "" {
		return everything
	}
	return everything + " and (" + filter + ")"
}

// Filter is the same for a store.
func Filter(where string) queue.Filter {
	return queue.Filter{States: []mail.State{mail.Held}, Hold: mail.HoldQuarantine, Where: where}
}

// Item is a message in quarantine in short.
type Item struct {
	ID       mail.ID   `json:"id"`
	Accepted time.Time `json:"accepted"`
	// Since is when the first of its recipients came into quarantine.
	Since time.Time `json:"since"`
	Size  int64     `json:"size"` // in octets
	// From is the sender as a path: "<joe@example.com>" or "<>".
	From string `json:"from"`
	// To are the recipients that are in quarantine.
	To []string `json:"to"`
	// Why is what policy said of the first recipient of which it said anything.
	Why string `json:"why,omitempty"`
	// Subject is decoded; empty when there is none.
	Subject string `json:"subject,omitempty"`
	// Unreadable is why the content cannot be read, if it cannot.
	Unreadable string `json:"unreadable,omitempty"`
}

// Contents opens contents; a store does.
type Contents interface {
	Body(ctx context.Context, id mail.ID) (queue.Body, error)
}

// Describe returns the item of an entry that has only those of its recipients
// that are meant.
func Describe(ctx context.Context, contents Contents, e *queue.Entry) Item {
	first, _ := since(e)
	item := Item{ID: e.ID, Accepted: e.Accepted, Since: first, Size: e.Size, From: e.Envelope.From.Path(), To: e.Addresses()}
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			item.Why = cmp.Or(item.Why, e.Deliveries[i].Recipients[j].Why)
		}
	}
	header, _, err := ReadHeader(ctx, contents, e.Body)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		item.Unreadable = "the message has gone meanwhile"
	case err != nil:
		item.Unreadable = err.Error()
	}
	raw, _ := header.First("Subject")
	item.Subject, _ = message.DecodeText(raw) // as some reader of mail shows it
	return item
}

// since returns when the first and the last of the recipients was held.
func since(e *queue.Entry) (first, last time.Time) {
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			at := e.HeldSince(&e.Deliveries[i].Recipients[j])
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
	}
	return first, last
}

// maxHeader is how much of a header people are shown, in octets.
const maxHeader = 64 << 10

// ReadHeader reads the header of a content, at most its first 64 KiB: then it is
// cut. It returns what it could read beside an error, which is the store's.
func ReadHeader(ctx context.Context, contents Contents, body mail.ID) (h *message.Header, cut bool, err error) {
	content, err := contents.Body(ctx, body)
	if err != nil {
		return new(message.Header), false, err
	}
	defer content.Close()
	begin := &beginning{from: io.NewSectionReader(content, 0, content.Size()), left: maxHeader}
	h, refused := message.ReadHeader(bufio.NewReader(begin), message.Limits{})
	return h, refused != nil && begin.err == nil, begin.err
}

// errCut ends what is read of a header.
var errCut = errors.New("more is not shown")

// beginning is the first octets of a content. It remembers how reading failed: a
// limit of the header is no failure of the store.
type beginning struct {
	from io.Reader
	left int
	err  error
}

// Read reads.
func (b *beginning) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errCut
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

package quarantine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// A digest tells what came into quarantine since the one before. There is at
// most one in a period: a mark says what the last one covered, and is stored in
// the commit that accepts the next.

// markDigest is the kind of that mark; its key is queue.All, its value is
// covered.
const markDigest queue.MarkKind = "quarantine digest"

// covered is what a digest covered.
type covered struct {
	// Period is the begin of its period, as the clock on the wall showed it
	// there, written as if it were UTC.
	Period time.Time `json:"period"`
	// To is until when it has what came.
	To time.Time `json:"to"`
}

// maxListed is how many messages a digest lists; it counts all.
const maxListed = 200

// settling is how far a digest stays behind the clock: what is being stored at
// that moment has an earlier time, and would be in none.
const settling = time.Minute

// digest is what is told of a period.
type digest struct {
	from, to time.Time
	made     time.Time
	settings *Settings
	items    []Item // the first of those that came
	came     int
	there    int // messages that are there in all
}

// period returns the begin of the period that a time is in, as the clock on the
// wall shows it, written as if it were UTC. Periods count from a Monday, at
// midnight. The night in which the clock goes back has no hour twice.
func period(now time.Time, every time.Duration) time.Time {
	year, month, day := now.Date()
	hour, minute, second := now.Clock()
	return time.Date(year, month, day, hour, minute, second, now.Nanosecond(), time.UTC).Truncate(every)
}

// digest sends the digest of the period if it is time.
func (k *Keeper) digest(ctx context.Context, s *Settings) error {
	if s.DigestTo.IsNull() {
		return nil
	}
	if err := k.readTold(ctx); err != nil {
		return err
	}
	now := k.Clock.Now()
	next := covered{Period: period(now.Local(), s.DigestEvery), To: now.Add(-min(settling, s.DigestEvery/10))}
	if !next.Period.After(k.told.Period) || !next.To.After(k.told.To) {
		return nil
	}
	d := &digest{from: k.told.To, to: next.To, made: now, settings: s}
	if err := k.collect(ctx, d); err != nil {
		return err
	}
	if d.came > 0 {
		if err := k.send(ctx, d, next); err != nil {
			return err
		}
		k.told.To = next.To
	}
	k.told.Period = next.Period
	return nil
}

// readTold reads what the last digest covered, unless that is known.
func (k *Keeper) readTold(ctx context.Context) error {
	if k.told != nil {
		return nil
	}
	var told covered
	mark, err := k.Store.Mark(ctx, markDigest, queue.All)
	switch {
	case errors.Is(err, queue.ErrNotFound): // there was none
	case err != nil:
		return err
	default:
		if err := json.Unmarshal([]byte(mark.Value), &told); err != nil {
			return fmt.Errorf("what the last digest covered cannot be read: %w", err)
		}
	}
	k.told = &told
	return nil
}

// collect finds what came since the last digest.
func (k *Keeper) collect(ctx context.Context, d *digest) error {
	return k.each(ctx, func(e *queue.Entry) {
		d.there++
		if _, last := since(e); !last.After(d.from) || last.After(d.to) {
			return
		}
		if d.came++; len(d.items) < maxListed {
			d.items = append(d.items, Describe(ctx, k.Store, e))
		}
	})
}

// recipients are those to whom it goes. An address of this host that is nobody's stays
// as it is, and what becomes of it is seen in the queue.
func (d *digest) recipients() []mail.Recipient {
	to := d.settings.Door.Local.Leads(d.settings.DigestTo)
	if len(to) == 0 {
		to = []mail.Address{d.settings.DigestTo}
	}
	list := make([]mail.Recipient, len(to))
	for i, a := range to {
		list[i] = mail.Recipient{Address: a, Notify: mail.NotifyNever}
	}
	return list
}

// send hands the digest in, with the mark that it was.
func (k *Keeper) send(ctx context.Context, d *digest, next covered) error {
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	d.write(&content)
	id, err := d.settings.Door.Accept(ctx, intake.Message{
		Origin:     mail.Origin{Listener: Actor},
		Envelope:   mail.Envelope{UTF8: !d.settings.DigestTo.IsASCII()},
		Recipients: d.recipients(),
		Content:    &content,
		Gone:       func() bool { return false },
		Marks:      []queue.Mark{{Kind: markDigest, Key: queue.All, Value: string(value), At: d.to, Actor: Actor}},
	})
	if err == nil {
		k.Logger.Info("told what came into quarantine", "message", id, "to", d.settings.DigestTo, "messages", d.came)
	}
	return err
}

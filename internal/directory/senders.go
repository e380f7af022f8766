package directory

import (
	"context"
	"database/sql"
	"time"
)

// Sender is what is kept of a source of mail, as its inventory has it. It is no record that
// an operator makes: it has no place in the image, and only what an operator says of it, its
// Owner and Note, is a change with a fact.
type Sender struct {
	// Source names it: "account:joe", "address:192.0.2.1".
	Source      string
	First, Last time.Time // when mail came
	// What was accepted: messages, recipients as the client named them, and octets.
	Messages, Recipients, Octets int64
	// Details are those of the inventory, as it writes them.
	Details string
	// Owner and Note are for people.
	Owner, Note string
}

const (
	putSenderCounts = `INSERT INTO senders (source, first_seen, last_seen, messages, recipients, octets, details, owner, note)
		VALUES (?, ?, ?, ?, ?, ?, ?, '', '')
		ON CONFLICT (source) DO UPDATE SET first_seen = excluded.first_seen, last_seen = excluded.last_seen,
			messages = excluded.messages, recipients = excluded.recipients, octets = excluded.octets, details = excluded.details`
	putSenderWords = `UPDATE senders SET owner = ?, note = ? WHERE source = ?`
	deleteSender   = `DELETE FROM senders WHERE source = ?`
)

func senderValues(s *Sender) []any {
	return []any{s.Source, millis(s.First), millis(s.Last), s.Messages, s.Recipients, s.Octets, s.Details}
}

// Senders calls one for all senders that are kept, in the order of when they were seen
// last. It fails as the database or one does.
func (d *Directory) Senders(ctx context.Context, one func(Sender) error) error {
	rows, err := d.reader.QueryContext(ctx, `SELECT source, first_seen, last_seen, messages, recipients, octets, details, owner, note
		FROM senders ORDER BY last_seen, source`)
	if err != nil {
		return d.dialect.explain(err)
	}
	return d.dialect.explain(each(rows, func(rows *sql.Rows) error {
		var s Sender
		var first, last int64
		if err := rows.Scan(&s.Source, &first, &last, &s.Messages, &s.Recipients, &s.Octets, &s.Details, &s.Owner, &s.Note); err != nil {
			return err
		}
		s.First, s.Last = fromMillis(first), fromMillis(last)
		return one(s)
	}))
}

// WriteSenders removes some senders, and then writes what was counted of others, in one
// transaction without a fact. It leaves Owner and Note as they are. It fails as a Change
// does.
func (d *Directory) WriteSenders(ctx context.Context, gone []string, counted []Sender) error {
	if err := d.acquire(ctx); err != nil {
		return err
	}
	defer d.release()
	return d.writeRows(ctx, func(tx *Tx) error {
		for _, source := range gone {
			if err := tx.exec(deleteSender, source); err != nil {
				return err
			}
		}
		for i := range counted {
			if err := tx.exec(putSenderCounts, senderValues(&counted[i])...); err != nil {
				return err
			}
		}
		return nil
	})
}

// AssignSender writes a sender with its Owner and Note, and tells of what has changed in
// these since before.
func (tx *Tx) AssignSender(before, s *Sender) error {
	if err := tx.exec(putSenderCounts, senderValues(s)...); err != nil {
		return err
	}
	if err := tx.exec(putSenderWords, s.Owner, s.Note, s.Source); err != nil {
		return err
	}
	var parts []string
	was, is := senderFields(before), senderFields(s)
	for i := range is {
		if is[i] != was[i] {
			parts = append(parts, is[i].name+" "+changeOf(was[i], is[i]))
		}
	}
	if parts == nil {
		return nil
	}
	return tx.tell(factText(Key{Kind: "sender", Name: s.Source}, parts))
}

func senderFields(s *Sender) []field {
	return []field{{name: "owner", value: s.Owner}, {name: "note", value: s.Note}}
}

package directory

import (
	"context"
	"encoding/json"
	"fmt"

	"postern/internal/mail"
)

// NextFacts returns up to limit facts of changes with N > after, in order of N.
func (d *Directory) NextFacts(ctx context.Context, after uint64, limit int) ([]mail.Fact, error) {
	rows, err := d.reader.QueryContext(ctx, d.dialect.sql(`SELECT n, fact FROM outbox WHERE n > ? ORDER BY n LIMIT ?`), int64(after), limit)
	if err != nil {
		return nil, d.dialect.explain(err)
	}
	defer rows.Close()
	var facts []mail.Fact
	for rows.Next() {
		var n int64
		var text []byte
		if err := rows.Scan(&n, &text); err != nil {
			return nil, d.dialect.explain(err)
		}
		var f mail.Fact
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%w (fact %d: %w)", ErrDamaged, n, err)
		}
		f.Source, f.N = Source, uint64(n)
		facts = append(facts, f)
	}
	return facts, d.dialect.explain(rows.Err())
}

// ForgetFacts drops the facts up to and including n, and numbers later ones behind it. It
// fails with ErrLost, wrapped, in a directory that Open has made, if it never told n: the
// journal knows another, and an empty one would refuse the mail of all who were in that.
// Close takes the file away again then.
func (d *Directory) ForgetFacts(ctx context.Context, n uint64) error {
	if err := d.acquire(ctx); err != nil {
		return err
	}
	defer d.release()
	return d.writeRows(ctx, func(tx *Tx) error {
		if d.made != "" && n >= tx.next {
			d.lost = tx.next == 1
			return fmt.Errorf("%s: %w (the journal has %d changes of it)", d.made, ErrLost, n)
		}
		if err := tx.exec(`DELETE FROM outbox WHERE n <= ?`, int64(n)); err != nil {
			return err
		}
		return tx.exec(`UPDATE forgotten SET n = ? WHERE n < ?`, int64(n), int64(n))
	})
}

// FactsWake receives after facts became durable.
func (d *Directory) FactsWake() <-chan struct{} { return d.wake }

package embedded

import (
	"encoding/json"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
)

// number adds the facts of what was done, and fills the places of those that
// were lost and that the journal does not have.
func (v *salvage) number() error {
	forgotten, facts, err := v.factsLeft()
	if err != nil {
		return err
	}
	if forgotten == 0 { // what was forgotten is not known
		forgotten = v.history.Last
		if len(facts) > 0 && (forgotten == 0 || facts[0] <= forgotten) {
			forgotten = facts[0] - 1
		}
		if err := v.out.Set([]byte{forgottenPrefix}, encodeNumber(forgotten), pebble.NoSync); err != nil {
			return err
		}
	}
	last := max(forgotten, v.history.Last)
	for _, n := range facts {
		for ; last+1 < n; last++ {
			v.result.Facts++
			if err := v.putFact(last+1, mail.Fact{Time: v.now, Reason: mail.ReasonDamaged, Text: "the fact with this number was lost to damage in the queue"}); err != nil {
				return err
			}
		}
		last = max(last, n)
	}
	for _, f := range v.facts {
		last++
		if err := v.putFact(last, f); err != nil {
			return err
		}
	}
	return nil
}

// factsLeft returns the number of the last fact that was forgotten, 0 if it
// cannot be read, and those of the facts that are there, in order.
func (v *salvage) factsLeft() (forgotten uint64, facts []uint64, err error) {
	k := []byte{forgottenPrefix}
	if value, err := v.store.read(v.out, k); err == nil {
		if n, err := decodeNumber(k, value); err == nil {
			forgotten = n
		}
	}
	for p, err := range scanPrefix(v.out, factPrefix) {
		if err != nil {
			return 0, nil, err
		}
		if n, ok := parseFactKey(p.key); ok {
			facts = append(facts, n)
		}
	}
	return forgotten, facts, nil
}

func (v *salvage) putFact(n uint64, f mail.Fact) error {
	encoded, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return v.out.Set(factKey(n), encoded, pebble.NoSync)
}

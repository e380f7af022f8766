package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// entries decides about every entry of which there is a trace.
func (v *salvage) entries() error {
	aside := make(map[mail.ID]bool)
	ids := make(map[mail.ID]bool)
	for prefix, set := range map[byte]map[mail.ID]bool{headerPrefix: ids, deliveryPrefix: ids, damagePrefix: aside} {
		for p, err := range scanPrefix(v.out, prefix) {
			if err = errors.Join(err, v.ctx.Err()); err != nil {
				return err
			}
			id, _, _ := splitKey(p.key)
			set[id] = true
		}
	}
	if err := v.users(ids); err != nil {
		return err
	}
	for id := range aside {
		v.kept[id] = true
		if p, err := v.store.read(v.out, key(damagePrefix, id)); err == nil {
			if d := decodeDamaged(pair{key(damagePrefix, id), p}); d.Body != "" {
				v.use(d.Body, id)
			}
		}
		delete(ids, id)
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := errors.Join(v.entry(id), v.ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// users adds the entries that use a body: all their own rows may be lost.
func (v *salvage) users(ids map[mail.ID]bool) error {
	var last []byte
	for p, err := range scan(v.versions, nil, nil) {
		if err != nil {
			return err
		}
		k := p.key[4 : len(p.key)-8]
		if k[0] != usePrefix || bytes.Equal(k, last) {
			continue
		}
		last = append(last[:0], k...)
		if _, entry, ok := splitKey(k); ok && p.value[0] == 0 {
			ids[mail.ID(entry)] = true
		}
	}
	return nil
}

// entry decides about one: it stays, or is held, or put together again, or
// set aside.
func (v *salvage) entry(id mail.ID) error {
	e, err := v.store.readEntry(v.out, id)
	if err == nil && len(e.Deliveries) == 0 {
		err = fmt.Errorf("%w: it has no delivery", queue.ErrDamaged)
	}
	if errors.Is(err, queue.ErrNotFound) {
		err = fmt.Errorf("%w: its header is lost", queue.ErrDamaged)
	}
	if err == nil {
		err = v.findBody(e.Body)
	}
	switch {
	case err == nil && v.uncertain(id):
		return v.hold(&e, "what became of it before the damage is not certain")
	case err == nil:
		v.keep(&e)
		return nil
	case !errors.Is(err, queue.ErrDamaged):
		return err
	}
	again, found := v.fromLog(id)
	if !found {
		return v.setAside(id, e.Body, err.Error())
	}
	if err := v.clear(id); err != nil {
		return err
	}
	return v.hold(&again, "it was put together again from the body log, as it was when it was accepted: "+err.Error())
}

func (v *salvage) keep(e *queue.Entry) {
	v.kept[e.ID] = true
	v.result.Entries++
	v.use(e.Body, e.ID)
}

// use notes that an entry needs a body.
func (v *salvage) use(body, entry mail.ID) {
	v.used[body] = true
	_ = v.out.Set(partKey(usePrefix, body, string(entry)), nil, pebble.NoSync) // told by the flush at the end
}

// findBody makes sure that a content is where its place says, or says where
// it is.
func (v *salvage) findBody(body mail.ID) error {
	k := key(placePrefix, body)
	value, err := v.store.read(v.out, k)
	var where place
	if err == nil {
		where, err = decodePlace(k, value)
	}
	known := err == nil
	if content, found := v.contents[body]; found && (!known || !where.inline) {
		return v.out.Set(k, place{Place: content.place}.encode(), pebble.NoSync)
	}
	content, err := v.store.read(v.out, key(contentPrefix, body))
	if err != nil || known && !where.inline {
		return fmt.Errorf("%w: its content is lost", queue.ErrDamaged)
	}
	size := int64(len(content)) - checksumSize
	if _, err := openContent(content, body, size); err != nil {
		return err
	}
	where = place{inline: true}
	where.Size = size
	return v.out.Set(k, where.encode(), pebble.NoSync)
}

// fromLog returns an entry as it was when it was accepted.
func (v *salvage) fromLog(id mail.ID) (queue.Entry, bool) {
	content, found := v.contents[id]
	if !found {
		return queue.Entry{}, false
	}
	var e queue.Entry
	if json.Unmarshal(content.head, &e) != nil || e.ID != id || len(e.Deliveries) == 0 {
		return queue.Entry{}, false
	}
	e.Body, e.Size = id, content.place.Size
	return e, v.findBody(id) == nil
}

// clear removes what is left of an entry's rows.
func (v *salvage) clear(id mail.ID) error {
	for p, err := range v.rows(id) {
		if err = errors.Join(err, v.out.Delete(bytes.Clone(p.key), pebble.NoSync)); err != nil {
			return err
		}
	}
	return nil
}

// rows goes over the rows of one entry.
func (v *salvage) rows(id mail.ID) func(func(pair, error) bool) {
	return func(yield func(pair, error) bool) {
		for _, prefix := range [][]byte{
			key(headerPrefix, id), partKey(deliveryPrefix, id, ""), partKey(attemptsPrefix, id, ""), partKey(pendingPrefix, id, ""),
		} {
			for p, err := range scanPrefix(v.out, prefix...) {
				if !yield(p, err) {
					return
				}
			}
		}
	}
}

// hold stores an entry with all its recipients held.
func (v *salvage) hold(e *queue.Entry, why string) error {
	batch := v.out.NewBatch()
	var held []string
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range d.Recipients {
			if r := &d.Recipients[j]; r.State != mail.Held {
				r.State, r.Hold = mail.Held, mail.HoldDamage
				held = append(held, r.Address.String())
			}
		}
		encoded, err := encodeDelivery(e.Body, e.Class, d)
		if err != nil {
			return err
		}
		if err := batch.Set(partKey(deliveryPrefix, e.ID, string(d.Destination)), encoded, nil); err != nil {
			return err
		}
	}
	header := *e
	header.Deliveries = nil
	encoded, err := json.Marshal(&header)
	if err != nil {
		return err
	}
	if err := errors.Join(batch.Set(key(headerPrefix, e.ID), encoded, nil), v.out.Apply(batch, pebble.NoSync)); err != nil {
		return err
	}
	v.keep(e)
	if len(held) > 0 {
		v.result.Held++
		v.facts = append(v.facts, mail.Fact{
			Time: v.now, Reason: mail.ReasonHeld, Message: e.ID, From: e.Envelope.From.Path(), To: held, Hold: mail.HoldDamage, Text: why,
		})
	}
	return nil
}

// setAside keeps what can be read of an entry under other keys.
func (v *salvage) setAside(id, body mail.ID, cause string) error {
	for p, err := range v.rows(id) {
		k := bytes.Clone(p.key)
		if err = errors.Join(err, v.out.Set(asideKey(k), bytes.Clone(p.value), pebble.NoSync), v.out.Delete(k, pebble.NoSync)); err != nil {
			return err
		}
	}
	encoded, err := json.Marshal(damageRecord{At: v.now, Body: body, Cause: cause})
	if err != nil {
		return err
	}
	if body != "" {
		v.use(body, id)
	}
	v.kept[id] = true
	v.result.Lost.Add(queue.Flaw{Entry: id, Body: body, Cause: cause})
	v.facts = append(v.facts, mail.Fact{Time: v.now, Reason: mail.ReasonDamaged, Message: id, Text: cause})
	return v.out.Set(key(damagePrefix, id), encoded, pebble.NoSync)
}

// orphans looks for entries of which the database has no trace: in the body
// log, and in the journal.
func (v *salvage) orphans() error {
	suspects := make(map[mail.ID]bool)
	for id := range v.contents {
		if v.kept[id] || v.used[id] || !v.uncertain(id) {
			continue
		}
		ended, err := v.ended(id)
		if err != nil {
			return err
		}
		if !ended {
			suspects[id] = true
		}
	}
	var ended map[mail.ID]bool
	var open []mail.Fact
	if v.past != nil {
		var err error
		if ended, open, err = v.past(suspects); err != nil {
			return fmt.Errorf("cannot read the journal: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(suspects)) {
		if ended[id] {
			continue
		}
		if e, found := v.fromLog(id); found {
			if err := v.hold(&e, "only the body log has it: whether it was delivered is not known"); err != nil {
				return err
			}
		}
	}
	for _, f := range open {
		if v.kept[f.Message] {
			continue
		}
		gone, err := v.ended(f.Message)
		if err != nil {
			return err
		}
		if gone {
			continue // its end is on its way to the journal
		}
		cause := fmt.Sprintf("only the journal knows of it: from %s to %v, Message-ID %s", f.From, f.To, f.MessageID)
		if err := v.setAside(f.Message, "", cause); err != nil {
			return err
		}
	}
	return nil
}

// bodies removes the contents that nothing uses.
func (v *salvage) bodies() error {
	for _, prefix := range []byte{placePrefix, contentPrefix} {
		for p, err := range scanPrefix(v.out, prefix) {
			if err != nil {
				return err
			}
			if v.used[mail.ID(p.key[1:])] {
				continue
			}
			if err := v.out.Delete(bytes.Clone(p.key), pebble.NoSync); err != nil {
				return err
			}
		}
	}
	return nil
}

// number adds the facts of what was done, and fills the places of those that
// were lost.
func (v *salvage) number() error {
	last := uint64(0)
	if value, err := v.store.read(v.out, []byte{forgottenPrefix}); err == nil {
		if n, err := decodeNumber([]byte{forgottenPrefix}, value); err == nil {
			last = n
		}
	}
	known := make(map[uint64]bool)
	forgotten := last
	for p, err := range scanPrefix(v.out, factPrefix) {
		if err != nil {
			return err
		}
		if n, ok := parseFactKey(p.key); ok {
			known[n] = true
			last = max(last, n)
		}
	}
	first := forgotten + 1
	if forgotten == 0 && len(known) > 0 {
		first = slices.Min(slices.Collect(maps.Keys(known))) // what was forgotten is not known
	}
	for n := first; n <= last; n++ {
		if known[n] {
			continue
		}
		v.result.Facts++
		if err := v.putFact(n, mail.Fact{Time: v.now, Reason: mail.ReasonDamaged, Text: "the fact with this number was lost to damage in the queue"}); err != nil {
			return err
		}
	}
	for _, f := range v.facts {
		last++
		if err := v.putFact(last, f); err != nil {
			return err
		}
	}
	return nil
}

func (v *salvage) putFact(n uint64, f mail.Fact) error {
	encoded, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return v.out.Set(factKey(n), encoded, pebble.NoSync)
}

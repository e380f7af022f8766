package embedded

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
			if err := v.keepContent(cmp.Or(decodeDamaged(pair{key(damagePrefix, id), p}).Body, v.bodies[id]), id); err != nil {
				return err
			}
		}
		delete(ids, id)
	}
	if err := v.asideUnlisted(aside, ids); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := errors.Join(v.entry(id), v.ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// asideUnlisted finds the entries that were set aside, as rows of theirs show,
// and of which the row that lists them is lost. They are no others' any more.
func (v *salvage) asideUnlisted(listed, ids map[mail.ID]bool) error {
	for p, err := range scanPrefix(v.out, asidePrefix) {
		if err != nil {
			return err
		}
		if k := p.key[1:]; len(k) > 0 && (k[0] == headerPrefix || k[0] == deliveryPrefix) {
			id, _, _ := splitKey(k)
			if !listed[id] {
				listed[id] = true
				v.lost = append(v.lost, queue.Flaw{Entry: id, Body: v.bodies[id], Cause: "it was set aside before, and why is lost"})
			}
			delete(ids, id)
		}
	}
	return nil
}

// users adds the entries that use a body, and notes which: all their own rows
// may be lost.
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
		if body, entry, ok := splitKey(k); ok && p.value[0] == 0 {
			ids[mail.ID(entry)] = true
			v.bodies[mail.ID(entry)] = body
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
		if ended, failed := v.ended(id); failed != nil || ended { // and what else is there, damage has kept
			return errors.Join(failed, v.clear(id))
		}
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
		v.lost = append(v.lost, queue.Flaw{Entry: id, Body: cmp.Or(e.Body, v.bodies[id]), Cause: plain(err)})
		return nil
	}
	if err := v.clear(id); err != nil {
		return err
	}
	return v.bringBack(&again, "it was put together again from the body log, as it was when it was accepted: "+plain(err))
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

// keepContent keeps what can be found of the content of an entry that is set
// aside; "" is one that is not known.
func (v *salvage) keepContent(body, entry mail.ID) error {
	if body == "" {
		return nil
	}
	v.use(body, entry)
	if err := v.findBody(body); err != nil && !errors.Is(err, queue.ErrDamaged) {
		return err
	}
	return nil
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

// bringBack holds an entry of which the new database has no row.
func (v *salvage) bringBack(e *queue.Entry, why string) error {
	header := *e
	header.Deliveries = nil
	encoded, err := json.Marshal(&header)
	if err != nil {
		return err
	}
	if err := v.out.Set(key(headerPrefix, e.ID), encoded, pebble.NoSync); err != nil {
		return err
	}
	return v.hold(e, why)
}

// hold stores an entry with all its recipients held. Its header is there, and
// must not be written again: removeOnce is for what was set just once.
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
	if err := v.out.Apply(batch, pebble.NoSync); err != nil {
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

// setAside keeps what can be read of an entry under other keys. accepted is
// the fact of its acceptance, if the journal has it.
func (v *salvage) setAside(lost queue.Flaw, accepted mail.Fact) error {
	id, body := lost.Entry, lost.Body
	if accepted.From != "" {
		lost.Cause += fmt.Sprintf("; it was from %s to %s, Message-ID %s", accepted.From, strings.Join(accepted.To, " "), accepted.MessageID)
	}
	for p, err := range v.rows(id) {
		k := bytes.Clone(p.key)
		if err = errors.Join(err, v.out.Set(asideKey(k), bytes.Clone(p.value), pebble.NoSync), v.out.Delete(k, pebble.NoSync)); err != nil {
			return err
		}
	}
	encoded, err := json.Marshal(damageRecord{At: v.now, Body: body, Cause: lost.Cause})
	if err != nil {
		return err
	}
	if err := v.keepContent(body, id); err != nil {
		return err
	}
	v.kept[id] = true
	v.result.Lost.Add(lost)
	v.facts = append(v.facts, mail.Fact{
		Time: v.now, Reason: mail.ReasonDamaged, Message: id, Text: lost.Cause,
		From: accepted.From, To: accepted.To, MessageID: accepted.MessageID,
	})
	return v.out.Set(key(damagePrefix, id), encoded, pebble.NoSync)
}

// orphans looks for entries of which the database has no trace, in the body
// log and in the journal, and sets aside what is lost.
func (v *salvage) orphans() error {
	suspects, err := v.suspects()
	if err != nil {
		return err
	}
	if v.past != nil {
		if v.history, err = v.past(Question{v.kept, suspects, v.onTheWay}); err != nil {
			return fmt.Errorf("cannot read the journal: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(suspects)) {
		if v.history.Ended[id] {
			continue
		}
		if e, found := v.fromLog(id); found {
			if err := v.bringBack(&e, "only the body log has it: whether it was delivered is not known"); err != nil {
				return err
			}
		}
	}
	return v.setLostAside()
}

// suspects are the contents in the body log that no entry uses, and of which
// nothing says that their entry ended.
func (v *salvage) suspects() (map[mail.ID]bool, error) {
	suspects := make(map[mail.ID]bool)
	for id := range v.contents {
		if v.kept[id] || v.used[id] || !v.uncertain(id) {
			continue
		}
		ended, err := v.ended(id)
		if err != nil {
			return nil, err
		}
		if !ended {
			suspects[id] = true
		}
	}
	return suspects, nil
}

// setLostAside sets aside what could not be put together, and what only the
// journal knows of.
func (v *salvage) setLostAside() error {
	accepted := make(map[mail.ID]mail.Fact)
	for _, f := range v.history.Open {
		accepted[f.Message] = f
	}
	for _, lost := range v.lost {
		if err := v.setAside(lost, accepted[lost.Entry]); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(accepted)) {
		ended, err := v.ended(id)
		if err != nil {
			return err
		}
		if ended || v.kept[id] {
			continue
		}
		if err := v.setAside(queue.Flaw{Entry: id, Cause: "only the journal knows of it"}, accepted[id]); err != nil {
			return err
		}
	}
	return nil
}

// clearBodies removes the contents that nothing uses.
func (v *salvage) clearBodies() error {
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

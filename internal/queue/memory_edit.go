package queue

import (
	"context"
	"slices"
	"time"

	"postern/internal/mail"
)

// Edit changes what is queued.
func (m *Memory) Edit(ctx context.Context, f Filter, c Change, actor string) (Edited, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Edited{}, err
	}
	if err := c.Check(); err != nil {
		return Edited{}, err
	}
	return m.runEdit(&EditRecord{Filter: f, Change: c, Actor: actor, At: m.options.Clock.Now()})
}

// Editing returns the edit that a failed commit has cut short: any other has
// ended before anybody can ask.
func (m *Memory) Editing() (Editing, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.edit == nil {
		return Editing{}, false
	}
	return Editing{EditRecord: *m.state.edit}, true
}

// runEdit does the steps of an edit that are left.
func (m *Memory) runEdit(record *EditRecord) (Edited, error) {
	s, err := record.Filter.Selector(record.At)
	if err != nil {
		return Edited{}, err
	}
	var total Edited
	for {
		ids := m.selected(s, record.After)
		done, err := m.step(s, record, ids)
		if err != nil {
			return total, err
		}
		total.Changed += done.Changed
		total.Pending += done.Pending
		if m.state.edit == nil {
			return total, nil
		}
	}
}

// selected returns the entries of the next step.
func (m *Memory) selected(s *Selector, after mail.ID) []mail.ID {
	var ids []mail.ID
	for _, id := range m.sortedIDs() {
		if id > after && len(ids) < EditStep && s.Entry(m.state.entries[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

// step changes the entries of one step in one commit, and sets or clears the
// record with it.
func (m *Memory) step(s *Selector, record *EditRecord, ids []mail.ID) (Edited, error) {
	now := m.options.Clock.Now()
	var total Edited
	var facts []mail.Fact
	revised := make([]Revised, len(ids))
	pending := make([]PendingEdits, len(ids))
	added := make([][]mail.Destination, len(ids))
	for i, id := range ids {
		revision := m.revise(id, now)
		pending[i] = clonePending(m.state.pending[id])
		done, more, err := revision.Edit(s, record, m.index.LeasedIn(id, now), pending[i])
		if err != nil {
			return Edited{}, err
		}
		total.Changed += done.Changed
		total.Pending += done.Pending
		added[i], revised[i] = more, revision.Result()
		facts = append(facts, revised[i].Facts...)
	}
	if err := m.commit(facts...); err != nil {
		return Edited{}, err
	}
	for i, id := range ids {
		if len(pending[i]) > 0 {
			m.state.pending[id] = pending[i]
		}
		m.apply(revised[i], nil, false)
		for _, d := range added[i] {
			m.index.MarkPending(id, d)
		}
	}
	m.state.edit = nil
	if len(ids) == EditStep {
		next := *record
		next.After = ids[len(ids)-1]
		*record, m.state.edit = next, &next
	}
	return total, nil
}

func clonePending(p PendingEdits) PendingEdits {
	c := make(PendingEdits, len(p))
	for d, edits := range p {
		c[d] = slices.Clone(edits)
	}
	return c
}

// applyLost applies the edits that waited for leases which are lost.
func (m *Memory) applyLost(now time.Time) error {
	for _, id := range m.index.Lost(now) {
		revision := m.revise(id, now)
		if err := revision.Lost(m.index.LeasedIn(id, now), m.state.pending[id]); err != nil {
			return err
		}
		result := revision.Result()
		if err := m.commit(result.Facts...); err != nil {
			return err
		}
		m.apply(result, nil, false)
		m.index.Recovered(id)
	}
	return nil
}

// recover does at a restart what waited for leases.
func (m *Memory) recover(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applyLost(now)
}

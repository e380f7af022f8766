package queue

import (
	"context"
	"fmt"

	"postern/internal/mail"
)

// Get returns an entry.
func (m *Memory) Get(ctx context.Context, id mail.ID) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Entry{}, err
	}
	if m.state.entries[id] == nil {
		return Entry{}, fmt.Errorf("entry %q: %w", id, ErrNotFound)
	}
	return m.read(id), nil
}

// read returns a copy of a stored entry.
func (m *Memory) read(id mail.ID) Entry {
	e := m.state.entries[id].Clone()
	m.index.Refresh(&e)
	return e
}

// List returns a page of the entries that a filter selects.
func (m *Memory) List(ctx context.Context, f Filter, p Page) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	s, err := f.Selector(m.options.Clock.Now())
	if err != nil {
		return nil, err
	}
	limit, err := p.Size()
	if err != nil {
		return nil, err
	}
	var entries []Entry
	looked := 0
	for _, id := range m.sortedIDs() {
		if id <= p.After || len(entries) == limit {
			continue
		}
		looked++
		if s.Entry(m.state.entries[id]) {
			entries = append(entries, m.read(id))
		}
	}
	p.Look(looked)
	return entries, nil
}

// Damaged returns nothing: memory is not damaged.
func (m *Memory) Damaged(ctx context.Context, p Page) ([]Damaged, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	_, err := p.Size()
	return nil, err
}

// Classes counts what waits, by class.
func (m *Memory) Classes() map[mail.Class]int { return m.index.Classes() }

// Count counts what a filter selects.
func (m *Memory) Count(ctx context.Context, f Filter) (map[mail.State]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	s, err := f.Selector(m.options.Clock.Now())
	if err != nil {
		return nil, err
	}
	if s.All() {
		return m.index.Total(), nil
	}
	counts := make(map[mail.State]int)
	for _, e := range m.state.entries {
		s.Count(e, counts)
	}
	return counts, nil
}

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// NextFacts returns facts behind a number.
func (m *Memory) NextFacts(ctx context.Context, after uint64, limit int) ([]mail.Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	i, _ := slices.BinarySearchFunc(m.state.facts, after, func(f mail.Fact, after uint64) int {
		if f.N <= after {
			return -1
		}
		return 1
	})
	facts := m.state.facts[i:]
	return slices.Clone(facts[:min(len(facts), max(limit, 0))]), nil
}

// ForgetFacts drops facts up to a number.
func (m *Memory) ForgetFacts(ctx context.Context, n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := m.commit(); err != nil {
		return err
	}
	m.state.facts = slices.DeleteFunc(m.state.facts, func(f mail.Fact) bool { return f.N <= n })
	m.state.lastFact = max(m.state.lastFact, n)
	return nil
}

// FactsWake receives after facts became durable.
func (m *Memory) FactsWake() <-chan struct{} { return m.factsWake }

// PutMark sets or lifts a mark.
func (m *Memory) PutMark(ctx context.Context, mark Mark, f mail.Fact) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := errors.Join(mark.Check(), CheckFact(&f)); err != nil {
		return err
	}
	if err := m.commit(f); err != nil {
		return err
	}
	m.mark(mark)
	return nil
}

func (m *Memory) mark(mark Mark) {
	name := markName{mark.Kind, mark.Key}
	if mark.Value == "" {
		delete(m.state.marks, name)
	} else {
		m.state.marks[name] = mark
	}
	m.suspend(mark)
}

// suspend tells the index of a mark that suspends, and of the entries that it
// suspends.
func (m *Memory) suspend(mark Mark) {
	m.index.Suspend(mark)
	if mark.Kind == MarkSuspendSender {
		for _, e := range m.state.entries {
			m.index.Withhold(e.ID, e.Envelope.From)
		}
	}
}

// Mark returns one mark.
func (m *Memory) Mark(ctx context.Context, kind MarkKind, key string) (Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Mark{}, err
	}
	mark, found := m.state.marks[markName{kind, key}]
	if !found {
		return Mark{}, fmt.Errorf("mark %q of kind %q: %w", key, kind, ErrNotFound)
	}
	return mark, nil
}

// ListMarks returns the marks of a kind.
func (m *Memory) ListMarks(ctx context.Context, kind MarkKind) ([]Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	var marks []Mark
	for name, mark := range m.state.marks {
		if name.kind == kind {
			marks = append(marks, mark)
		}
	}
	slices.SortFunc(marks, func(a, b Mark) int { return strings.Compare(a.Key, b.Key) })
	return marks, nil
}

package mailtest

import (
	"slices"
	"sync"
	"testing"

	"postern/internal/mail"
)

// Facts collects facts. The zero Facts is ready, and safe for use by several goroutines.
type Facts struct {
	mu   sync.Mutex
	list []mail.Fact
}

// Record takes a fact, as the Record of many Options.
func (f *Facts) Record(one mail.Fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, one)
}

// All returns those that came.
func (f *Facts) All() []mail.Fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// Take returns those that came since it was asked the last time.
func (f *Facts) Take() []mail.Fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}

// Must ends a test with an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package mailtest

import (
	"errors"
	"testing"

	"postern/internal/mail"
)

// TestFacts: what was taken does not come again, and what came before is all there.
func TestFacts(t *testing.T) {
	var f Facts
	f.Record(mail.Fact{Text: "one"})
	f.Record(mail.Fact{Text: "two"})
	all := f.All()
	if len(all) != 2 || len(f.All()) != 2 {
		t.Errorf("all are %v", all)
	}
	if taken := f.Take(); len(taken) != 2 || taken[1].Text != "two" || len(f.Take()) != 0 || len(f.All()) != 0 {
		t.Errorf("taken are %v, and left %v", taken, f.All())
	}
	f.Record(mail.Fact{Text: "three"})
	if all[0].Text != "one" || len(f.Take()) != 1 {
		t.Errorf("what was returned has changed: %v", all)
	}
}

// ended is a test of which it is noted whether it has ended.
type ended struct {
	testing.TB
	fatal bool
}

func (e *ended) Helper()      {}
func (e *ended) Fatal(...any) { e.fatal = true }

// TestMust: an error ends the test, and nothing else does.
func TestMust(t *testing.T) {
	for _, err := range []error{nil, errors.New("broken")} {
		e := ended{TB: t}
		if Must(&e, err); e.fatal != (err != nil) {
			t.Errorf("%v: ended is %t", err, e.fatal)
		}
	}
}

package directory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func (o *opened) senders() (list []Sender) {
	o.t.Helper()
	if err := o.Senders(o.t.Context(), func(s Sender) error {
		list = append(list, s)
		return nil
	}); err != nil {
		o.t.Fatal(err)
	}
	return list
}

func (o *opened) writeSenders(gone []string, counted ...Sender) {
	o.t.Helper()
	if err := o.WriteSenders(o.t.Context(), gone, counted); err != nil {
		o.t.Fatal(err)
	}
}

func TestSenders(t *testing.T) {
	o := newDirectory(t)
	host := Sender{Source: "address:192.0.2.1", First: start, Last: start.Add(time.Minute), Messages: 1, Recipients: 2, Octets: 1 << 40, Details: `{"hello":"é"}`}
	joe := Sender{Source: "account:joe", First: start, Last: start, Messages: 7, Recipients: 7, Octets: 70, Details: `{}`}
	o.writeSenders(nil, host, joe)
	o.reopen()
	if diff := cmp.Diff([]Sender{joe, host}, o.senders(), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("those seen last do not come last, or not as they were written (-want +got):\n%s", diff)
	}

	owned := host
	owned.Owner, owned.Note, owned.Messages = "the web team", "ticket", 2
	o.change(func(tx *Tx) error { return tx.AssignSender(&host, &owned) })
	host.Messages, host.Last = 3, start.Add(time.Hour)
	o.writeSenders([]string{"account:joe", "account:nobody"}, host) // what is counted later takes nothing back
	o.reopen()
	host.Owner, host.Note = owned.Owner, owned.Note
	if diff := cmp.Diff([]Sender{host}, o.senders(), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	o.writeSenders([]string{host.Source}, Sender{Source: host.Source, First: start, Last: start, Details: "{}"})
	if list := o.senders(); len(list) != 1 || list[0].Owner != "" {
		t.Errorf("one that was forgotten and has come again is %+v", list)
	}

	// Only what was said is a fact.
	facts, err := o.NextFacts(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(facts) != 1 || facts[0].Text != "sender address:192.0.2.1: owner none -> the web team; note none -> ticket" || facts[0].Actor != "ann" {
		t.Errorf("the facts are %+v", facts)
	}
}

// A directory of before the table has it when it is opened.
func TestSendersInOlderSchema(t *testing.T) {
	o := newDirectory(t)
	o.change(func(tx *Tx) error { return tx.PutUser(User{Login: "joe", Enabled: true}) })
	o.backTo(1)
	o.reopen()
	if _, found := o.User("joe"); !found || len(o.senders()) != 0 {
		t.Error("what was there is not there any more")
	}
	o.writeSenders(nil, Sender{Source: "account:joe", Details: "{}"})
	if len(o.senders()) != 1 {
		t.Error("nothing was written")
	}
}

// What is removed is not left in the file for whoever reads it.
func TestSendersAreGone(t *testing.T) {
	o := newDirectory(t)
	const name = "address:198.51.100.77"
	o.writeSenders(nil, Sender{Source: name, Details: "{}"})
	o.writeSenders([]string{name})
	if slices.ContainsFunc(o.senders(), func(s Sender) bool { return s.Source == name }) {
		t.Error("it is still there")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.dir, File))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), name) {
		t.Error("the file still has it")
	}
}

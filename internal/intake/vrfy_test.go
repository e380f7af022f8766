package intake

import (
	"errors"
	"testing"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// TestVRFY: what each setting says of each kind of address (RFC 5321 3.5, 7.3). No reply
// leaves it to the engine, which says 252.
func TestVRFY(t *testing.T) {
	const vague, off = "no reply", "550 5.7.1 Addresses are not verified here"
	d := newDoor(t, Options{})
	down := &source{}
	d.Local.Directory, d.Local.Sources = people(t), []Source{down}
	var says Disclosure
	d.VRFY = func(string) Disclosure { return says }
	s := d.session(outside)
	for _, c := range []struct{ args, tells string }{
		{"sales@corp.example", "250 2.1.5 <sales@corp.example>"},
		{" <Sales@CORP.example> ", "250 2.1.5 <Sales@CORP.example>"},
		{"sales@corp.example SMTPUTF8", "250 2.1.5 <sales@corp.example>"},
		{"root", "250 2.1.5 <root@gate.example>"},
		{"postmaster", "250 2.1.5 <postmaster>"},
		{"nobody", "550 5.1.1 No such user here"},
		{"nobody@corp.example", "550 5.1.1 No such user here"},
		{"ann@corp.example", "550 5.1.1 No such user here"},
		{"mates@corp.example", "550 5.1.1 No such user here"},
		{"inner@corp.example", "250 2.1.5 <inner@corp.example>"}, // who may not post to it may know of it
		{"two@corp.example", "250 2.1.5 <two@corp.example>"},
		{"loop@corp.example", vague},
		{"x@elsewhere.example", vague},
		{"jörg@all.example", vague},
		{"jörg@corp.example", "550 5.1.1 No such user here"},
		{"Joe Doe", "553 5.1.3 Not an address, nor the name of a user"},
		{"<", "553 5.1.3 Not an address, nor the name of a user"},
		{"a\x00b@corp.example", "553 5.1.3 Not an address, nor the name of a user"},
		{"a\r\nb@corp.example", "553 5.1.3 Not an address, nor the name of a user"},
	} {
		for says = range TellOff + 1 {
			want := map[Disclosure]string{TellNothing: vague, TellUsers: c.tells, TellOff: off}[says]
			if got := s.Command(t.Context(), smtp.Command{Verb: "VRFY", Args: c.args}).String(); got != want {
				t.Errorf("VRFY %q (%d): %s, want %s", c.args, says, got, want)
			}
		}
	}
	says, down.down = TellUsers, errors.New("no answer")
	if got := s.Command(t.Context(), smtp.Command{Verb: "VRFY", Args: "nobody@corp.example"}).String(); got != vague {
		t.Errorf("without the other directory: %s", got)
	}
	if got := s.Command(t.Context(), smtp.Command{Verb: "NOOP"}); got != (mail.Reply{}) {
		t.Errorf("NOOP: %v", got)
	}
}

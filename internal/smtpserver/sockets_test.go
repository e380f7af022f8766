package smtpserver

import (
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// Two servers with one bound: clients of the one leave no room for those of the
// other, and nobody lingers; whoever is refused is told, and a fact tells of it.
func TestSockets(t *testing.T) {
	sockets := NewSockets(2)
	var told mailtest.Facts
	one, other := start(t, Options{Sockets: sockets}, &scripted{}), start(t, Options{Sockets: sockets, Record: told.Record}, &scripted{})
	first := one.dial().open()
	other.dial().open()
	third := other.dial()
	third.expect("421 4.3.2 mx.test has too many connections, try again later")
	third.expectEnd()
	if all := told.All(); len(all) != 1 || all[0].Reason != mail.ReasonRefused || all[0].Reply.Code != 421 || !all[0].Origin.Client.IsValid() {
		t.Errorf("facts: %+v", all)
	}
	if one.mayLinger(&Options{MaxConnections: 10, Sockets: sockets}) {
		t.Error("a connection lingers although there are too many")
	}
	first.send("QUIT\r\n")
	first.expect("221 2.0.0 mx.test closing connection")
	first.expectEnd()
	first.Close()
	one.stop() // has waited until the server noticed
	other.dial().open()
}

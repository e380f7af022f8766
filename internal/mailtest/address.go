package mailtest

import (
	"testing"

	"postern/internal/mail"
)

// Address reads an address, and ends the test if it is none. An empty one, and "<>", is the
// null one.
func Address(t testing.TB, text string) mail.Address {
	t.Helper()
	if text == "" || text == "<>" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

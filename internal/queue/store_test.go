package queue_test

import (
	"encoding/json"
	"testing"

	"postern/internal/queue"
)

// TestFlawsAsJSON: a program that goes over the list needs no special case
// for an empty one.
func TestFlawsAsJSON(t *testing.T) {
	var flaws queue.Flaws
	none, err := json.Marshal(queue.Verified{Flaws: flaws})
	if want := `{"files":0,"octets":0,"entries":0,"bodies":0,"flaws":{"list":[],"count":0}}`; err != nil || string(none) != want {
		t.Errorf("got %s, %v, want %s", none, err, want)
	}
	flaws.Add(queue.Flaw{File: "f", Cause: "c"})
	one, err := json.Marshal(&flaws)
	if want := `{"list":[{"file":"f","cause":"c"}],"count":1}`; err != nil || string(one) != want {
		t.Errorf("got %s, %v, want %s", one, err, want)
	}
}

package queue_test

import (
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/queue"
)

// stateTable is the state table as a person draws it: a row is the state
// before, a column the state after; an x is what may follow. "new" is a
// recipient that is being accepted.
const stateTable = `
           queued deferred held delivered relayed expanded bounced expired removed dead discarded
new        x      x        x    -         -       -        -       -       -       -    -
queued     -      x        x    x         x       x        x       x       x       x    x
deferred   -      x        x    x         x       x        x       x       x       x    x
held       x      -        -    -         -       -        -       x       x       -    x
delivered  -      -        -    -         -       -        -       -       -       -    -
relayed    -      -        -    -         -       -        -       -       -       -    -
expanded   -      -        -    -         -       -        -       -       -       -    -
bounced    -      -        -    -         -       -        -       -       -       -    -
expired    -      -        -    -         -       -        -       -       -       -    -
removed    -      -        -    -         -       -        -       -       -       -    -
dead       -      -        -    -         -       -        -       -       -       -    -
discarded  -      -        -    -         -       -        -       -       -       -    -
`

func TestEveryPairOfStates(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(stateTable), "\n")
	columns := strings.Fields(lines[0])
	pairs := 0
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		from := mail.State(cells[0])
		if from == "new" {
			from = ""
		}
		for i, cell := range cells[1:] {
			to := mail.State(columns[i])
			if got, want := queue.CanFollow(from, to), cell == "x"; got != want {
				t.Errorf("CanFollow(%q, %q) = %v, want %v", from, to, got, want)
			}
			if from != "" && (!slices.Contains(mail.States, from) || !slices.Contains(mail.States, to)) {
				t.Errorf("%q or %q is not a state", from, to)
			}
			pairs++
		}
	}
	if want := (len(mail.States) + 1) * len(mail.States); pairs != want {
		t.Errorf("the table has %d pairs, want %d", pairs, want)
	}
	if queue.CanFollow(mail.Queued, "") || queue.CanFollow("lost", mail.Queued) {
		t.Error("a state that is none follows, or is followed")
	}
}

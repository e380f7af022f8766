package crash

import (
	"context"
	"testing"
	"time"

	"postern/test/harness"
)

// operator changes the queue by hand all the while: mail is held and released,
// all of it at once, and delivery suspended and resumed, when the kill comes.
type operator struct {
	postern *harness.Postern
	done    map[string]int // how often each command came to its end
}

// commands follow each other; together they change nothing for good.
var commands = [][]string{
	{"queue", "hold", "age >= 0s", "--yes"},
	{"queue", "release", "all", "--yes"},
	{"suspend", "delivery"},
	{"queue", "retry", "state = deferred or state = queued", "--yes"},
	{"resume", "delivery"},
	{"suspend", "sender", "@nowhere.example"},
	{"queue", "reroute", "--to", "elsewhere.example", "not domain = elsewhere.example and attempts = 0", "--yes"},
}

// turnsEvery is how often a command begins; a process for each must not take
// the machine from the server.
const turnsEvery = 100 * time.Millisecond

// run gives commands until ctx ends. Most fail: the server is being killed.
func (o *operator) run(ctx context.Context) {
	tick := time.NewTicker(turnsEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		words := commands[i%len(commands)]
		if o.postern.Command(ctx, words...).Run() == nil {
			o.done[words[0]+" "+words[1]]++
		}
	}
}

// letGo undoes what the last commands may have left.
func (o *operator) letGo(ctx context.Context, t *testing.T) {
	t.Helper()
	_ = o.postern.Command(ctx, "resume", "delivery").Run() // fails when it is not suspended
	if out, err := o.postern.Command(ctx, "queue", "release", "all", "--yes").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("commands that came to their end: %v", o.done)
}

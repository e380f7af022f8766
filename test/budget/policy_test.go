package budget

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
)

// half is less than one allocation for each message, and more than what tables take
// that grow at times.
const half = 0.5

// TestNoPolicyCostsNothing: a listener for which no handler is pays nothing for those
// of others, whatever their number: each message is as many allocations as with no
// policy at all. One handler of its own can be told apart by the same measure.
func TestNoPolicyCostsNothing(t *testing.T) {
	var others strings.Builder
	others.WriteString(head + "relay = \"everybody\"\n[[listener]]\nname = \"other\"\naddress = \"127.0.0.1:26\"\n")
	for i, at := range []string{"connect", "helo", "mail", "rcpt", "data"} {
		for n := range 40 {
			fmt.Fprintf(&others, "[[handler]]\nname = \"%s-%d\"\nat = %q\nlisteners = [\"other\"]\npriority = %d\nwhen = 'client.port != %d'\nsteps = [\"accept\"]\n", at, n, at, n, i)
		}
	}
	local := &intake.Local{Names: []string{"relay.example"}}
	none := allocations(t, local, func(mail.Origin) *policy.Session { return nil })
	if got := allocations(t, local, compiled(t, local, others.String()).Begin); math.Abs(got-none) >= half {
		t.Errorf("%.2f allocations a message beside a listener with 200 handlers, want the %.2f of no policy", got, none)
	}
	own := compiled(t, local, head+"relay = \"everybody\"\n[[handler]]\nat = \"rcpt\"\nwhen = 'client.port != 1'\nsteps = [\"accept\"]\n")
	if got := allocations(t, local, own.Begin); got < none+half {
		t.Errorf("%.2f allocations a message with a handler, and %.2f without: nothing is measured", got, none)
	}
}

// allocations is what a message takes through the SMTP server and the door, to a queue
// in memory: the least of a few rounds, so that what the runtime does meanwhile does
// not count.
func allocations(t *testing.T, local *intake.Local, begin func(mail.Origin) *policy.Session) float64 {
	ctx := bounded(t)
	door := intake.New(intake.Options{
		Hostname: "relay.example", Store: queue.NewMemory(queue.Options{}), IDs: new(mail.IDs), Local: local, Policy: begin,
		AddDate: true, AddMessageID: true, MaxHops: 100, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	from := connect(ctx, t, serve(t, door).Addr())
	least := math.Inf(1)
	for range 4 {
		least = min(least, spent(func() {
			for range messages {
				from.send(t)
			}
		}).count)
	}
	return least
}

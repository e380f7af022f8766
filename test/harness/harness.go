// Package harness is what the tests with real processes share: a relay to be
// tested (Postern, or Postfix to compare it with), a source that submits mail
// to it, and a sink that takes what it passes on.
//
// Source and sink speak SMTP with code of their own, none of Postern's, so
// that a fault in Postern's cannot hide itself. Source and sink are quick
// rather than complete: they know what the tests need.
//
// Nothing here fails a test by itself. Functions return errors that say what
// was waited for, and where the log of the process is.
package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// Relay is a mail server that takes mail on a loopback port and passes all of
// it to one next hop. A relay that was stopped may be started again; it keeps
// its port and its queue.
type Relay interface {
	// Start returns when the relay greets, or fails.
	Start(ctx context.Context) error
	// Stop ends the relay in good order and waits until it is gone.
	Stop() error
	// Addr is where the relay takes mail, as host:port.
	Addr() string
	// PID is the relay's process, or the first of them. It is valid while
	// the relay runs.
	PID() int
	// Queued counts the messages that the relay still has.
	Queued(ctx context.Context) (int, error)
}

// Required reports whether a test must fail, rather than be skipped, when
// something that it needs is missing.
func Required() bool { return os.Getenv("CI") == "true" || os.Getenv("POSTERN_REQUIRE_PEERS") == "1" }

// Until looks often at first, then less and less so: some looks are costly.
const firstPoll, lastPoll = time.Millisecond, 64 * time.Millisecond

// Until waits until done reports true. It fails with what was waited for when
// ctx ends first, and at once when done fails.
func Until(ctx context.Context, what string, done func() (bool, error)) error {
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		ok, err := done()
		if err != nil {
			return fmt.Errorf("waiting until %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// UntilEmpty waits until the relay has no message left.
func UntilEmpty(ctx context.Context, r Relay) error {
	last := 0
	err := Until(ctx, "the queue is empty", func() (bool, error) {
		n, err := r.Queued(ctx)
		if err == nil {
			last = n
		}
		return n == 0, err
	})
	if err != nil {
		return fmt.Errorf("%w (%d messages left)", err, last)
	}
	return nil
}

// greets reports whether a mail server answers at addr.
func greets(ctx context.Context, addr string) bool {
	c, err := Dial(ctx, addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// Ports for servers lie below those that the kernel gives to outgoing
// connections, so that a port stays free while its server is down.
const firstPort, lastPort = 20000, 32000

// given are the ports that were returned by FreePort. Whoever asked may not listen yet, or not
// at present, and nobody else gets it.
var given sync.Map

// FreePort returns a loopback port that nobody listens on, another one each time.
func FreePort() (int, error) {
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, was := given.LoadOrStore(port, true); was {
			continue
		}
		l, err := net.Listen("tcp4", Loopback(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port found in 100 attempts")
}

// Loopback returns the address of a loopback port.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

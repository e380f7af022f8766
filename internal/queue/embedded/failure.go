package embedded

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/queue"
)

// failure remembers that a commit failed, or that Pebble gave up. From then
// on nobody knows what is durable, and the store refuses everything.
type failure struct {
	logger *slog.Logger
	notify func(error) // may be nil

	once sync.Once
	err  atomic.Pointer[error]
	done chan struct{} // closed when it happens
}

func newFailure(logger *slog.Logger, notify func(error)) *failure {
	return &failure{logger: logger, notify: notify, done: make(chan struct{})}
}

// happen makes the store a failed one and returns the error of all its
// methods, which wraps ErrUnknown and the first cause.
func (f *failure) happen(cause error) error {
	f.once.Do(func() {
		err := fmt.Errorf("%w: %w", queue.ErrUnknown, cause)
		f.err.Store(&err)
		close(f.done)
		f.logger.Error("the queue has failed; the process must end", "error", cause)
		if f.notify != nil {
			f.notify(err)
		}
	})
	return f.get()
}

// get returns nil while nothing has failed.
func (f *failure) get() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// pebbleLogger takes Pebble's messages. Pebble calls Fatalf where it cannot
// go on, and by default that ends the process without a word to anybody.
type pebbleLogger struct {
	logger  *slog.Logger
	failure *failure
}

var _ pebble.Logger = pebbleLogger{}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.logger.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.logger.Error("pebble", "message", fmt.Sprintf(format, args...))
}

// Fatalf returns, against what its callers expect: whoever wrote sees the
// failure right behind, and nothing is written after it.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	_ = l.failure.happen(fmt.Errorf(format, args...))
}

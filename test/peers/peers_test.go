// Package peers tests Postern between mail programs that others wrote: the
// real binary, the real programs, on loopback. It is no library.
//
// A peer that is not installed skips its tests, except where CI=true or
// POSTERN_REQUIRE_PEERS=1 is set: there it fails them.
package peers

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// limit bounds each test here: a mail that does not come would otherwise be
// waited for until the whole suite ends.
const limit = 8 * time.Minute

// bounded returns the context of a test.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// lack ends a test for which something is not installed.
func lack(t *testing.T, why error) {
	t.Helper()
	if harness.Required() {
		t.Fatalf("peers are required here: %v", why)
	}
	t.Skip(why)
}

// program returns the path of a peer's program.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lack(t, err)
	}
	return path
}

// directory makes a directory in which any user may look a file up by name,
// as Postfix's daemons must; t.TempDir is closed to them.
func directory(t *testing.T) string {
	t.Helper()
	dir := mailtest.KeptDir(t, "peers")
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts a relay for the length of the test.
func start[R harness.Relay](ctx context.Context, t *testing.T, r R, err error) R {
	t.Helper()
	if errors.Is(err, harness.ErrNoPostfix) || errors.Is(err, harness.ErrNoExim) {
		lack(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// transparent makes Postfix pass content on as it came.
const transparent = `
message_size_limit = 60000000
smtp_line_length_limit = 0
disable_mime_output_conversion = yes
local_header_rewrite_clients =
smtputf8_enable = yes
smtp_destination_recipient_limit = 1000
smtpd_client_connection_count_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 5s
queue_run_delay = 1s
`

// startPostfix starts a Postfix that passes everything to next, with more
// lines of main.cf.
func startPostfix(ctx context.Context, t *testing.T, name, next string, settings ...string) *harness.Postfix {
	t.Helper()
	return startPostfixWith(ctx, t, name, next, transparent+strings.Join(settings, "\n")+"\n")
}

// startPostfixWith does so with other settings.
func startPostfixWith(ctx context.Context, t *testing.T, name, next, settings string) *harness.Postfix {
	t.Helper()
	p, err := harness.NewPostfix(harness.PostfixOptions{
		Dir:      filepath.Join(directory(t), name),
		Hostname: name + ".test.example",
		NextHop:  next,
		Settings: settings,
	})
	return start(ctx, t, p, err)
}

// startExim starts an Exim; o says all but where it lives and what its name is.
func startExim(ctx context.Context, t *testing.T, name string, o harness.EximOptions) *harness.Exim {
	t.Helper()
	o.Dir, o.Hostname = filepath.Join(directory(t), name), name+".test.example"
	e, err := harness.NewExim(o)
	return start(ctx, t, e, err)
}

// startPostern starts a Postern that passes everything to next.
func startPostern(ctx context.Context, t *testing.T, next string) *harness.Postern {
	t.Helper()
	return startPosternWith(ctx, t, next, "")
}

// startPosternWith does so with more settings of [delivery].
func startPosternWith(ctx context.Context, t *testing.T, next, settings string) *harness.Postern {
	t.Helper()
	return startBuilt(ctx, t, buildPostern(ctx, t), next, settings)
}

// buildPostern builds the binary, for as long as the test runs.
func buildPostern(ctx context.Context, t *testing.T) string {
	t.Helper()
	binary, err := harness.BuildPostern(ctx, directory(t))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// startBuilt starts a binary with more settings of [delivery].
func startBuilt(ctx context.Context, t *testing.T, binary, next, settings string) *harness.Postern {
	t.Helper()
	dir := filepath.Join(directory(t), "instance")
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: dir, NextHop: next, Settings: settings})
	return start(ctx, t, p, err)
}

// startSink starts the sink at the end of the line.
func startSink(t *testing.T, take func(*harness.Arrival) string) *harness.Sink {
	t.Helper()
	return listen(t, &harness.Sink{Take: take})
}

// listen starts a sink for the length of the test.
func listen(t *testing.T, sink *harness.Sink) *harness.Sink {
	t.Helper()
	if err := sink.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// TestLeftMail kills the server, again and again, while it collects what was
// left by sendmail: at each of the first commits, each time one later, and
// around each sync of the log. Each message is there once in the end.
func TestLeftMail(t *testing.T) {
	const messages = 8
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	nowhere, err := harness.FreePort()
	mailtest.Must(t, err)
	postern, tagged := newPostern(ctx, t, harness.Loopback(nowhere), "")
	spool := filepath.Join(filepath.Dir(postern.Log()), "spool")
	mailtest.Must(t, addSetting(postern.Log(), spool))
	mailtest.Must(t, postern.Start(ctx)) // makes the directory
	mailtest.Must(t, postern.Stop())
	for i := range messages {
		send := exec.CommandContext(ctx, postern.Binary(), "sendmail", "-C", spool, "-f", "joe@example.org", fmt.Sprintf("r%d@example.net", i))
		send.Stdin = strings.NewReader(fmt.Sprintf("Subject: %d\n\nbody\n", i))
		if out, err := send.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	kills := 0
	for n := 1; n <= 6; n++ {
		for _, step := range []string{"committed", "before wal sync", "after wal sync"} {
			if err := postern.StartAs(ctx, tagged, fmt.Sprintf("%s%s:%d", crashAt, step, n)); err == nil {
				mailtest.Must(t, harness.Until(ctx, "the server has killed itself, or has nothing left", func() (bool, error) {
					return postern.State() != nil || filesIn(spool) == 0, nil
				}))
				postern.Kill()
			}
			if status, ok := postern.State().Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
				t.Fatalf("%s:%d: the server ended with %v", step, n, postern.State())
			}
			kills++
		}
	}
	if left := filesIn(spool); left == messages {
		t.Error("the server was killed before it collected anything")
	}
	mailtest.Must(t, postern.Start(ctx))
	mailtest.Must(t, harness.Until(ctx, "all is collected", func() (bool, error) { return filesIn(spool) == 0, nil }))
	n, err := postern.Queued(ctx)
	mailtest.Must(t, err)
	mailtest.Must(t, postern.Stop())
	if n != messages {
		t.Errorf("%d messages are in the queue after %d kills, want %d", n, kills, messages)
	}
	t.Logf("%d kills", kills)
}

// filesIn counts the files that wait for the server.
func filesIn(spool string) int {
	n := 0
	for _, place := range []string{"drop", "taken"} {
		list, _ := filepath.Glob(filepath.Join(spool, place, "*")) // the pattern is good
		n += len(list)
	}
	return n
}

// addSetting adds the directory to the configuration beside a log.
func addSetting(log, spool string) error {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(log), "postern.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "\n[submission]\ndirectory = %q\n", spool)
	return err
}

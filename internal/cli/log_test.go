package cli

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"postern/internal/config"
)

func TestJournalLines(t *testing.T) {
	for _, c := range []struct {
		format config.LogFormat
		want   string
	}{
		{config.LogText, `<7>msg=a
<6>msg=b time=soon
<4>msg=c session=1 error=gone
<3>msg=d group.level=x
`},
		{config.LogJSON, `<7>{"msg":"a"}
<6>{"msg":"b","time":"soon"}
<4>{"msg":"c","session":1,"error":"gone"}
<3>{"msg":"d","group":{"level":"x"}}
`},
	} {
		var out bytes.Buffer
		log := slog.New(newJournalHandler(&out, c.format, slog.LevelDebug))
		log.Debug("a")
		log.Info("b", slog.Group("", slog.String("time", "soon")))
		log.With("session", 1).Warn("c", "error", errors.New("gone"))
		log.WithGroup("group").Error("d", "level", "x")
		if got := out.String(); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.format, got, c.want)
		}
	}
}

func TestJournalHandlerKeepsTheLevel(t *testing.T) {
	var out bytes.Buffer
	slog.New(newJournalHandler(&out, config.LogText, slog.LevelWarn)).Info("quiet")
	if out.Len() != 0 {
		t.Errorf("below its level it wrote %q", out.String())
	}
}

// Only what goes to the journal is written for it.
func TestLoggerAsksWhoReads(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino+1))
	newLogger(f, config.LogText, slog.LevelInfo).Info("a")
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	newLogger(f, config.LogText, slog.LevelInfo).Info("b")
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(got, []byte("\n"))
	if !bytes.HasPrefix(lines[0], []byte("time=")) || string(lines[1]) != "<6>msg=b\n" {
		t.Errorf("the log is\n%s", got)
	}
}

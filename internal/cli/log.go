package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/systemd"
)

// newLogger returns the logger that the configuration asks for. What the journal
// of systemd reads is written for it.
func newLogger(w io.Writer, format config.LogFormat, level slog.Leveler) *slog.Logger {
	if f, is := w.(*os.File); is && systemd.ReadsJournal(f) {
		return slog.New(newJournalHandler(w, format, level))
	}
	return slog.New(newHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: textOfError}, format))
}

func newHandler(w io.Writer, options *slog.HandlerOptions, format config.LogFormat) slog.Handler {
	if format == config.LogJSON {
		return slog.NewJSONHandler(mail.PlainJSONWriter(w), options)
	}
	return slog.NewTextHandler(w, options)
}

// textOfError logs the text of an error alone: some libraries' errors would
// add the stack.
func textOfError(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindAny { // to ask Any of a string allocates
		return a
	}
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.StringValue(err.Error())
	}
	return a
}

// journalHandler writes lines for the journal of systemd: each begins with its
// priority (sd-daemon(3)), by which journalctl sorts and colours them, and has
// neither time nor level, which the journal knows.
type journalHandler struct {
	slog.Handler // writes to line
	line         *journalLine
}

// journalLine is the line that is being written.
type journalLine struct {
	mu  sync.Mutex
	buf bytes.Buffer
	out io.Writer
}

func newJournalHandler(w io.Writer, format config.LogFormat, level slog.Leveler) slog.Handler {
	line := &journalLine{out: w}
	return journalHandler{newHandler(&line.buf, &slog.HandlerOptions{Level: level, ReplaceAttr: forJournal}, format), line}
}

// forJournal takes out what the journal knows by itself.
func forJournal(groups []string, a slog.Attr) slog.Attr {
	_, isLevel := a.Value.Any().(slog.Level)
	isTime := a.Value.Kind() == slog.KindTime
	if len(groups) == 0 && (a.Key == slog.TimeKey && isTime || a.Key == slog.LevelKey && isLevel) {
		return slog.Attr{}
	}
	return textOfError(groups, a)
}

// Handle writes a line at once, so that lines do not mix.
func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.buf.Reset()
	fmt.Fprintf(&h.line.buf, "<%d>", priority(r.Level))
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.line.out.Write(h.line.buf.Bytes())
	return err
}

// WithAttrs returns a handler that adds attributes to each line.
func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{h.Handler.WithAttrs(attrs), h.line}
}

// WithGroup returns a handler that puts attributes into a group.
func (h journalHandler) WithGroup(name string) slog.Handler {
	return journalHandler{h.Handler.WithGroup(name), h.line}
}

// priority is that of syslog(3) for a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

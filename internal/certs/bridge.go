package certs

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// bridge hands what the ACME library logs to our log. It tells each step, which only
// somebody wants to know who looks for a fault: its information is our debugging, and what it
// calls debugging (all that goes over the wire) is left out. Its warnings and errors are
// information: of what an authority refuses it tells five times, and the Manager once.
type bridge struct {
	logger *slog.Logger
	fields []zapcore.Field
}

// level is ours for one of theirs.
func level(l zapcore.Level) slog.Level {
	if l <= zapcore.InfoLevel {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Enabled reports whether anybody reads such a line.
func (b bridge) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && b.logger.Enabled(context.Background(), level(l))
}

// With returns a bridge that adds fields to each line.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{b.logger, append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

// Check has a line written if anybody reads it.
func (b bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return c.AddCore(e, b)
	}
	return c
}

// Write writes a line.
func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(b.fields[:len(b.fields):len(b.fields)], fields...) {
		f.AddTo(values)
	}
	b.logger.Log(context.Background(), level(e.Level), "acme: "+e.Message, "details", values.Fields)
	return nil
}

// Sync has nothing to do.
func (bridge) Sync() error { return nil }

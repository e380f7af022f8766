package certs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// TestBridge: what the library warns of can be seen, its steps only by who debugs, and
// what goes over the wire never.
func TestBridge(t *testing.T) {
	for at, want := range map[slog.Level]string{
		slog.LevelDebug: "DEBUG acme: step name:a.example, INFO acme: odd name:a.example try:2, INFO acme: wrong name:a.example",
		slog.LevelInfo:  "INFO acme: odd name:a.example try:2, INFO acme: wrong name:a.example",
		slog.LevelWarn:  "",
	} {
		var out bytes.Buffer
		z := zap.New(bridge{logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: at}))}).With(zap.String("name", "a.example"))
		z.Debug("wire")
		z.Info("step")
		z.Warn("odd", zap.Int("try", 2))
		z.Error("wrong")
		var got []string
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(strings.TrimSpace(line), "level=")
			line = strings.NewReplacer(`msg="`, "", `" details=`, " ", "map[", "", "]", "", `"`, "").Replace(line)
			got = append(got, line)
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("at %v:\n%s\nwant\n%s", at, text, want)
		}
	}
}

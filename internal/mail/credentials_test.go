package mail

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverShown(t *testing.T) {
	c := Credentials{User: "joe", Password: "hunter2"}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb+" "+verb+"\n", c, &c)
	}
	text, err := json.Marshal(c)
	b.Write(text)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "credentials", c, "password", c.Password)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "credentials", c, "password", c.Password)
	shown := b.String()
	if err != nil || strings.Contains(shown, "hunter2") || strings.Contains(shown, fmt.Sprintf("%x", "hunter2")) || !strings.Contains(shown, "joe") {
		t.Errorf("%v, shown as %s", err, shown)
	}
	if c.IsZero() || !(Credentials{}).IsZero() || Secret("").String() != "" {
		t.Error("none cannot be told from some")
	}
}

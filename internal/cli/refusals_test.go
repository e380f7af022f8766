package cli

import (
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/credentials"
)

// TestRefusalBy: what one host refuses says nothing of another; what fails at its issuer is shown to none.
func TestRefusalBy(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	refused := credentials.Trouble{Host: "hub.test", Since: since, Why: "535 no", Next: since.Add(time.Minute)}
	fails := credentials.Trouble{Since: since, Why: "no token"}
	for _, c := range []struct {
		host     string
		troubles []credentials.Trouble
		want     string
	}{
		{"Hub.Test", []credentials.Trouble{{Host: "other.test"}, refused}, "is refused since " + timeOrNone(since) + ": 535 no; tried again at " + timeOrNone(refused.Next)},
		{"other.test", []credentials.Trouble{refused}, ""},
		{"other.test", []credentials.Trouble{fails}, "fails since " + timeOrNone(since) + ": no token"},
		{"other.test", nil, ""},
	} {
		if got := refusalBy(c.host, &admin.Credential{Troubles: c.troubles}); got != c.want {
			t.Errorf("%s: %q, want %q", c.host, got, c.want)
		}
	}
}

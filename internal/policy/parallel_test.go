package policy

import (
	"sync"
	"testing"
)

// TestSessionsShareAnEngine: many sessions at once, each with its own values.
func TestSessionsShareAnEngine(t *testing.T) {
	e := compile(t, handler("large", "mail", `{ set = "my.from", to = "${smtp.mail.from}" }`, `when = 'smtp.mail.from.matches("^joe[0-9]@") && message.size == 1000'`)+
		handler("rcpt", "rcpt", `{ reject = "${my.from}" }`, `when = 'my.from.size() > 0'`))
	var sessions sync.WaitGroup
	for i := range 8 {
		sessions.Go(func() {
			from := "joe" + string(rune('0'+i)) + "@example.com"
			for range 50 {
				s := begin(t, e, "192.0.2.66")
				s.mail(from)
				if d, _ := s.rcpt("ann@example.org"); d.Reply.Text != from {
					t.Errorf("the session of %s has %q", from, d.Reply.Text)
				}
			}
		})
	}
	sessions.Wait()
}

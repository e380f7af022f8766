package policy

import (
	"testing"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
)

// TestLimit takes a step limit to its edge, and past it in each way.
func TestLimit(t *testing.T) {
	for _, c := range []struct{ name, step, want, effect string }{
		{"defer", `{ limit = "2/1h", per = "smtp.mail.from" }`, "450 4.7.1 Too much at once, please try again in 60 minutes",
			"too much for joe@example.com: at most 2/1h: 450 4.7.1 Too much at once, please try again in 60 minutes"},
		{"reject", `{ limit = "2/1h", per = "smtp.mail.from", over = "reject" }`, "550 5.7.1 Too much: at most 2/1h is allowed",
			"too much for joe@example.com: at most 2/1h: 550 5.7.1 Too much: at most 2/1h is allowed"},
		{"hold", `{ limit = "2/1h", per = "smtp.mail.from", over = "hold" }`, "no reply", "too much for joe@example.com: at most 2/1h: waits until 2024-02-05T10:00:00Z"},
		{"count", `{ limit = "2000/1h", per = "smtp.mail.from", count = "message.size" }`, "450 4.7.1 Too much at once, please try again in 60 minutes", "too much for joe@example.com: at most 2000/1h: 450 4.7.1 Too much at once, please try again in 60 minutes"},
		{"octets", `{ limit = "2KiB/1h", per = "domain(smtp.mail.from)" }`, "450 4.7.1 Too much at once, please try again in 60 minutes", "too much for example.com: at most 2KiB/1h: 450 4.7.1 Too much at once, please try again in 60 minutes"},
		{"never", `{ limit = "500/1h", per = "smtp.mail.from", count = "message.size", over = "hold" }`, "550 5.7.1 Too much: at most 500/1h is allowed", "too much for joe@example.com: at most 500/1h: 550 5.7.1 Too much: at most 500/1h is allowed"},
	} {
		s := begin(t, compile(t, handler("rule", "mail", c.step)), "192.0.2.66")
		if c.name != "never" {
			for range 2 {
				if d := s.mail("joe@example.com"); d.Verdict != Accept {
					t.Fatalf("%s: within the limit %v", c.name, d)
				}
			}
			if d := s.mail("ann@example.org"); d.Verdict != Accept {
				t.Errorf("%s: of another key %v", c.name, d)
			}
		}
		d := s.mail("joe@example.com")
		if d.Reply.String() != c.want || d.Trail[0].Effect != c.effect {
			t.Errorf("%s: %q, %q", c.name, d.Reply, d.Trail[0].Effect)
		}
		if until := s.lasting[3].treatment.NotBefore; c.name == "hold" && !until.Equal(start.Add(time.Hour)) {
			t.Errorf("held until %v", until)
		}
	}
}

// TestHeldInTurn: of many messages over a rate each waits for its own turn, and what
// would have to wait for too long is deferred.
func TestHeldInTurn(t *testing.T) {
	s := begin(t, compile(t, handler("rule", "mail", `{ limit = "2/1h", per = "listener.name", over = "hold" }`)), "192.0.2.66")
	var waits []time.Duration
	deferred := mail.Reply{}
	for deferred.IsZero() && len(waits) < 1000 {
		d := s.mail("joe@example.com")
		if deferred = d.Reply; d.Verdict == Accept {
			_, treatment := s.rcpt("ann@example.org")
			waits = append(waits, max(treatment.NotBefore.Sub(start), 0))
		}
	}
	for i, wait := range waits {
		if want := time.Duration(i/2) * time.Hour; wait != want {
			t.Fatalf("message %d waits for %v, want %v", i, wait, want)
		}
	}
	if len(waits) < 100 || deferred.Code != 450 {
		t.Errorf("%d messages, then %v", len(waits), deferred)
	}
}

// TestLimitsAreApart: two limits with one key count apart; the same one counts over
// sessions.
func TestLimitsAreApart(t *testing.T) {
	e := compile(t, handler("rule", "mail", `{ limit = "1/1h", per = "listener.name" }, { limit = "2/1h", per = "listener.name" }`))
	var got []Verdict
	for range 2 {
		got = append(got, begin(t, e, "192.0.2.66").mail("joe@example.com").Verdict)
	}
	if got[0] != Accept || got[1] != Defer {
		t.Errorf("%v", got)
	}
}

func TestInTime(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "1 second", time.Second: "1 second", 1001 * time.Millisecond: "2 seconds", 2 * time.Minute: "120 seconds", 121 * time.Second: "3 minutes"} {
		if got := inTime(wait); got != want {
			t.Errorf("%v: %q, want %q", wait, got, want)
		}
	}
}

// TestReload: an engine that is made anew goes on counting with the same limits.
func TestReload(t *testing.T) {
	text := head + handler("rule", "mail", `"hold", { limit = "1/1h", per = "listener.name" }`)
	o := options(load(t, text))
	counts := limit.NewSet(o.Clock)
	o.Limits = counts
	for i, want := range []Verdict{Accept, Defer} {
		e, _ := Compile(o)
		counts.Keep(e.Limits())
		if d := e.Begin(origin("192.0.2.66")).Mail(t.Context(), mail.Address{}, 0); d.Verdict != want {
			t.Errorf("engine %d: %v", i, d)
		}
	}
}

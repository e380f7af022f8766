package policy

import (
	"fmt"
	"testing"
)

// manyHandlers are n handlers at rcpt, each with a pattern of its own and a condition.
func manyHandlers(n int) string {
	text := ""
	for i := range n {
		text += handler(fmt.Sprintf("h%d", i), "rcpt", `{ tag = "x" }`,
			fmt.Sprintf("recipient = [\"*@d%d.example\"]\nwhen = 'message.size > %d && domain(smtp.mail.from) != \"d%d.example\" && client.address != \"\"'", i, i, i))
	}
	return text
}

// BenchmarkRcpt is one RCPT: with no rule at all, with the relay check alone, and with
// 200 handlers, of which the first or the last one matches, or none.
func BenchmarkRcpt(b *testing.B) {
	many := relayHead + manyHandlers(200)
	for _, c := range []struct{ name, text, to string }{
		{"nothing", head, "joe@example.net"},
		{"relay", relayHead, "joe@example.net"},
		{"200 handlers, the first", many, "joe@d100.example"},
		{"200 handlers, the last", many, "joe@d9.example"},
		{"200 handlers, none", many, "joe@example.net"},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := begin(b, compileAll(b, c.text), "192.0.2.66")
			s.mail("x@example.com")
			to := recipient(b, c.to)
			b.ReportAllocs()
			for b.Loop() {
				if s.Session != nil {
					s.recipients = s.recipients[:0]
				}
				s.Rcpt(b.Context(), to)
			}
		})
	}
	// All 200 conditions are worked out, and are false.
	text := head
	for i := range 200 {
		text += handler(fmt.Sprintf("h%d", i), "rcpt", `"accept"`, fmt.Sprintf("priority = %d\nwhen = 'message.size > %d && domain(smtp.mail.from) != \"d%d.example\"'", i, 1000+i, i))
	}
	b.Run("200 conditions, all false", func(b *testing.B) {
		s := begin(b, compileAll(b, text), "192.0.2.66")
		s.mail("x@example.com")
		to := recipient(b, "joe@example.net")
		b.ReportAllocs()
		for b.Loop() {
			s.recipients = s.recipients[:0]
			s.Rcpt(b.Context(), to)
		}
	})
}

// BenchmarkCompile is what a reload has to do with 200 handlers.
func BenchmarkCompile(b *testing.B) {
	o := options(load(b, relayHead+manyHandlers(200)))
	for b.Loop() {
		if _, problems := Compile(o); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

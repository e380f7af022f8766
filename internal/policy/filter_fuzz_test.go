package policy

import (
	"testing"
	"unicode/utf8"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/message"
)

// FuzzFilter: any text is a pattern or a mistake, and a filter with it matches what the
// pattern matches by itself, whatever there is in it that means something in conditions
// and texts.
func FuzzFilter(f *testing.F) {
	for _, seed := range [][2]string{{"*.vbs", "a.vbs"}, {`a\*\\`, `a*\`}, {`"`, `"`}, {"${x}", "${x}"}, {"}", "}"}, {"'\n\t\x00\x7f\u2028", "'\n\t\x00\x7f\u2028"}, {"$", "$"}, {`\\"`, `\"`}, {"😀?", "😀x"}} {
		f.Add(seed[0], seed[1])
	}
	c := load(f, head+filter("f", `attachment = ["x"]`))
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) {
			return // a configuration is UTF-8
		}
		own := *c
		own.Filters = []config.Filter{c.Filters[0]}
		own.Filters[0].Attachment = []config.Text{{Text: pattern}}
		e, problems := Compile(options(&own))
		wildcard, wrong := readWildcard(pattern)
		if (wrong.message != "") != (e == nil) {
			t.Fatalf("%q: %q, %v", pattern, wrong.message, problems)
		}
		if e == nil {
			return
		}
		s := begin(t, e, "192.0.2.1")
		s.mail("a@b.example")
		s.rcpt("ann@example.org")
		d := s.data(inspectedMessage{message.Inspection{Parts: []message.Part{{Path: "1", Names: []string{name}}}}})
		if d.Verdict != Accept || (d.Recipients[0].Treatment.Hold == mail.HoldQuarantine) != wildcard.Match(name) {
			t.Errorf("%q with %q: %v %+v, want %v", pattern, name, d.Decision, d.Recipients, wildcard.Match(name))
		}
	})
}

// inspectedMessage is a message of which is known what is in it.
type inspectedMessage struct{ found message.Inspection }

func (m inspectedMessage) Size() int64 { return 1 }

func (m inspectedMessage) Inspect() (*message.Inspection, error) { return &m.found, nil }

func (m inspectedMessage) Body(int) (string, error) { return "", nil }

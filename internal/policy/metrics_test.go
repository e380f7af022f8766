package policy

import (
	"fmt"
	"slices"
	"testing"

	"postern/internal/metrics"
)

// TestMetrics: each rule that was chosen counts once, by what came of it.
func TestMetrics(t *testing.T) {
	o := options(load(t, head+
		handler("greet", "helo", `"accept"`)+
		handler("spam", "mail", `"reject"`, `sender = ["spam@*"]`)+
		handler("later", "rcpt", `"defer"`, `recipient = ["later@*"]`)+
		handler("gone", "rcpt", `"discard"`, `recipient = ["gone@*"]`)+
		handler("broken", "rcpt", `"accept"`, `recipient = ["broken@*"]`, `when = 'smtp.rcpt.recipients[0] == ""'`)+
		handler("usual", "rcpt", `"accept"`)))
	set := metrics.NewSet()
	o.Metrics = NewMetrics(set)
	e, problems := Compile(o)
	for _, p := range problems {
		t.Fatal(p)
	}
	s := begin(t, e, "192.0.2.66")
	s.helo("client.example")
	s.mail("spam@example.com")
	s.mail("joe@example.com")
	for _, to := range []string{"broken@x.example", "later@x.example", "gone@x.example", "ann@x.example", "bob@x.example"} {
		s.rcpt(to)
	}
	families, err := set.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 {
				line := fmt.Sprint(n)
				for _, l := range m.GetLabel() {
					line += " " + l.GetValue()
				}
				got = append(got, line)
			}
		}
	}
	want := []string{"1 helo handlers accept", "1 mail handlers reject", "1 rcpt handlers defer", "1 rcpt handlers discard", "1 rcpt handlers failed", "2 rcpt handlers accept"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

package mail

import (
	"strings"
	"testing"
)

// TestASCIIDomain: RFC 5891 4.
func TestASCIIDomain(t *testing.T) {
	for domain, want := range map[string]string{
		"bücher.example":                     "xn--bcher-kva.example",
		"BÜCHER.example":                     "xn--bcher-kva.example",
		"straße.example":                     "xn--strae-oqa.example",
		"mail.Example":                       "mail.Example",
		"xn--bcher-kva.test":                 "xn--bcher-kva.test",
		"r3--x.under_score":                  "r3--x.under_score",
		"ü_x.example":                        "xn--_x-wka.example",
		"a…b.example":                        "",
		"a b.example":                        "",
		"bücher..example":                    "",
		strings.Repeat("ü", 60) + ".example": "",
	} {
		got, err := ASCIIDomain(domain)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%s: %q, %v; want %q", domain, got, err, want)
		}
	}
}

func TestSameDomain(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"a.example", "A.Example", true},
		{"a.example", "b.example", false},
		{"bücher.example", "BÜCHER.example", true},
		{"bücher.example", "XN--bcher-kva.example", true},
		{"xn--bcher-kva.example", "bücher.example", true},
		{"bücher.example", "bucher.example", false},
		{"a…b.example", "ab.example", false},
		{"a…b.example", "a…b.example", true},
		{"bücher.example", "bu\u0308cher.example", true}, // a letter, or a letter and two dots
		{"bücher.example", "bücher\u3002example", true},  // an ideographic full stop
		{"straße.example", "STRA\u1e9eE.example", false}, // which is strasse.example
	} {
		if SameDomain(c.a, c.b) != c.same {
			t.Errorf("%s and %s: want %t", c.a, c.b, c.same)
		}
	}
}

package lists

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

const wayMap = "# where mail goes\n" +
	"joe@Example.com        partners\n" +
	"example.com\t relay.example.net:587 # all others there\n" +
	".example.com           smtp:[Inside.example.net]\n" +
	".deep.example.com      relay:[192.0.2.7]:2525\n" +
	"\"a b\"@example.org    smtp:[2001:db8::7]:submission\n" +
	"bücher.example         :[IPv6:2001:db8::8]\n" +
	"[192.0.2.1]            relay:587\n" +
	"*                      mx\n" +
	"example.com            relay.example.net:587\n"

func TestFindWay(t *testing.T) {
	list, err := Parse(Ways, "map", []byte(wayMap))
	if err != nil {
		t.Fatal(err)
	}
	if list.Len() != 8 {
		t.Errorf("%d entries, want 8", list.Len())
	}
	for address, want := range map[string]string{
		"joe@example.com":              "partners at map:2",
		"JOE@EXAMPLE.COM":              "partners at map:2",
		"jim@example.com":              "relay.example.net:587 at map:3",
		"joe@sub.example.com":          "inside.example.net:25 at map:4",
		"joe@deep.example.com":         "inside.example.net:25 at map:4",
		"joe@very.deep.example.com":    "192.0.2.7:2525 at map:5",
		`"a b"@example.org`:            "[2001:db8::7]:587 at map:6",
		"a@example.org":                "mx at map:9",
		"x@BÜCHER.example":             "[2001:db8::8]:25 at map:7",
		"x@xn--bcher-kva.example":      "[2001:db8::8]:25 at map:7",
		"x@[192.0.2.1]":                "relay:587 at map:8",
		"x@anotherexample.com":         "mx at map:9",
		`"joe@example.com"@other.test`: "mx at map:9",
	} {
		a, err := mail.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		key, at, found := list.FindWay(a, true)
		if got := fmt.Sprintf("%s at %s", key, at); got != want || !found {
			t.Errorf("%s: %s, %v; want %s", address, got, found, want)
		}
	}
	for _, a := range []mail.Address{{}, {Local: "postmaster"}} {
		if key, _, found := list.FindWay(a, true); found {
			t.Errorf("%q goes by %s", a, key)
		}
	}
	if key, _, found := list.FindWay(mail.Address{Local: "a", Domain: "example.org"}, false); found {
		t.Errorf("without everybody it goes by %s", key)
	}
	var leads []string
	for key, at := range list.Ways() {
		leads = append(leads, fmt.Sprintf("%d %s", at.Line, key))
	}
	want := []string{"2 partners", "3 relay.example.net:587", "4 inside.example.net:25", "5 192.0.2.7:2525", "6 [2001:db8::7]:587", "7 [2001:db8::8]:25", "8 relay:587", "9 mx"}
	if diff := cmp.Diff(want, leads); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	networks, err := Parse(Networks, "n", []byte("192.0.2.0/24"))
	if _, _, found := networks.FindWay(mail.Address{Local: "a", Domain: "b.test"}, true); found || err != nil {
		t.Error("a list of networks has a way", err)
	}
}

func TestWrongWays(t *testing.T) {
	for line, want := range map[string]string{
		"example.com":                            `map:1:12: has no way behind it (` + wayHint + `)`,
		"example.com  a b":                       `map:1:16: goes on behind the way (write one way, and "#" before a comment)`,
		"*.example.com  partners":                `map:1:1: "*.example.com" has a * in it (write ".example.com" for all below a domain, "*" alone for all)`,
		"joe@  partners":                         `map:1:1: "joe@": domain malformed: empty label (` + wayHint + `)`,
		"exam ple.com partners":                  `map:1:14: goes on behind the way (write one way, and "#" before a comment)`,
		"example..com partners":                  `map:1:1: "example..com" is not a domain: domain malformed: empty label (` + wayHint + `)`,
		".[192.0.2.1] partners":                  `map:1:1: ".[192.0.2.1]" is not a domain: domain malformed (` + wayHint + `)`,
		"example.com  host:0":                    `map:1:14: "host:0" is no way: not a server: port "0" is not a number from 1 to 65535 (write the name of a transport, or host:port)`,
		"example.com  smtp:example.net":          `map:1:19: "example.net" is a domain, not a server (write "[example.net]" for that server; for the servers of a domain, name a transport with lookup_mx)`,
		"example.com  relay:[a.test":             `map:1:20: the bracket of "[a.test" is not closed`,
		"example.com  smtp:[a.test]x":            `map:1:19: "[a.test]x" has something else than a port behind the bracket (write it as "smtp:[relay.example.com]:587")`,
		"example.com a.test\nexample.com b.test": `map:2:1: "example.com" has another way in line 1 (leave out one of the two)`,
	} {
		_, err := Parse(Ways, "map", []byte(line))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", line, err, want)
		}
	}
}

// TestFindWayAllocates: a look-up in a map of the largest size allocates nothing.
func TestFindWayAllocates(t *testing.T) {
	var text strings.Builder
	for i := range MaxLines {
		fmt.Fprintf(&text, "user%d@d%d.example relay%d.example.net:587\n", i, i%1000, i%100)
	}
	list, err := Parse(Ways, "map", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	a := mail.Address{Local: "User77777", Domain: "D777.Example"}
	if n := testing.AllocsPerRun(100, func() {
		if _, at, found := list.FindWay(a, true); !found || at.Line != 77778 {
			t.Fatal("not found")
		}
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

// FuzzWays reads any bytes as a map: what can be read is found again by each line, and what
// a line leads to is a way that can be read.
func FuzzWays(f *testing.F) {
	f.Add([]byte(wayMap))
	f.Add([]byte("a@b.test smtp:[c.test]:25\n.b.test relay:[::1]\n* mx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Parse(Ways, "map", data)
		if err != nil {
			return
		}
		for key := range list.Ways() {
			if again, err := mail.ParseRouteKey(string(key)); err != nil || again != key {
				t.Fatalf("%q is read as %q, %v", key, again, err)
			}
		}
		for at, line := range strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n") {
			entry := strings.TrimSpace(withoutComment(strings.TrimSuffix(line, "\r")))
			if entry == "" {
				continue
			}
			a, err := mail.ParseAddress(entry[:endOfKey(entry)])
			if err != nil || a.Domain == "" {
				continue
			}
			if _, place, found := list.FindWay(a, true); !found || place.Line > at+1 {
				t.Fatalf("line %d: %q is found at %v", at+1, a, place)
			}
		}
	})
}

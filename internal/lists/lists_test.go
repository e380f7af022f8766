package lists

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func parse(t testing.TB, kind Kind, text string) *List {
	t.Helper()
	l, err := Parse(kind, "list", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestFind: the line of the entry that a text fits best; 0 for none.
func TestFind(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		text string
		want map[string]int
	}{
		{Networks, "\ufeff# first\r\n192.0.2.1\r\n\r\n 10.1.2.3 255.255.255.0 # a mask\n10.0.0.0/8\n10.1.2.7\n2001:db8::/32\n2001:db8::1\n::ffff:203.0.113.1\n192.0.2.9 255.255.255.255\n2001:db9::5 ffff:ffff::",
			map[string]int{
				"192.0.2.1": 2, "192.0.2.2": 0, "10.1.2.200": 4, "10.1.2.7": 6, "10.9.9.9": 5, "11.0.0.0": 0, "::ffff:10.9.9.9": 5,
				"2001:db8::1": 8, "2001:db8::2": 7, "2001:db9:1::": 11, "2001:dba::": 0, "203.0.113.1": 9, "192.0.2.9": 10, "192.0.2.8": 0,
				"2001:db8::1%eth0": 8, "": 0, "x": 0, "10.0.0.0/8": 0,
			}},
		{Networks, "0.0.0.0/0\n", map[string]int{"192.0.2.1": 1, "2001:db8::1": 0, "::ffff:1.2.3.4": 1}},
		{Networks, "::/0\n10.0.0.1 0.0.0.0\n", map[string]int{"192.0.2.1": 2, "2001:db8::1": 1}},
		{Domains, "Example.COM\n.example.com\n*.example.net\nbücher.example\n.xn--bcher-kva.test\ndeep.example.com\nexample.com # again",
			map[string]int{
				"example.com": 1, "EXAMPLE.com.": 1, "a.example.com": 2, "a.b.example.com": 2, "deep.example.com": 6, "x.deep.example.com": 2,
				"example.net": 0, "a.example.net": 3, "notexample.com": 0, "com": 0, "": 0, ".": 0, "a..example.com": 0,
				"xn--bcher-kva.example": 4, "BÜCHER.example": 4, "a.bücher.test": 5, "bücher.test": 0,
			}},
		{Addresses, "joe@example.com\n\"a #b\"@example.com # quoted\njoe#1@example.com #1\nx@bücher.example\nPostMaster@example.org\nx@[192.0.2.1]\n",
			map[string]int{
				"joe@example.com": 1, "joe@EXAMPLE.com": 1, "Joe@example.com": 0, `"joe"@example.com`: 1, "joe@a.example.com": 0,
				`"a #b"@Example.com`: 2, "joe#1@example.com": 3, "x@xn--bcher-kva.example": 4, "x@Bücher.example": 4,
				"postmaster@EXAMPLE.org": 5, "x@[192.0.2.1]": 6, "": 0, "<>": 0, "postmaster": 0,
			}},
		{Patterns, "*@gmail.com\ns*@axway.*\n*@*.Example.com\nsales@axway.com\nexact@x.example\n<>\n*@bücher.example\nsa*@axway.*\n*money*fast*\nü*\n",
			map[string]int{
				"joe@GMAIL.com": 1, "@gmail.com": 1, "sam@axway.com": 8, "sales@axway.com": 4, "steve@axway.co.uk": 2, "steve@other.com": 0,
				"a@b.example.com": 3, "a@example.com": 0, "exact@X.example": 5, "exact@y.example": 0, "<>": 6, "x@Bücher.example": 7,
				"x@xn--bcher-kva.example": 7, "Make Money really FAST!": 9, "money": 0, "Üx@y.example": 10, "": 0,
			}},
		{Patterns, "*\n**\na*\n", map[string]int{"": 1, "x": 1, "abc": 3}},
		{Patterns, "a*b\n", map[string]int{"ab": 1, "axb": 1, "b": 0, "a": 0}},
		{Patterns, "aa*aa\n", map[string]int{"aaa": 0, "aaaa": 1}},
	} {
		l := parse(t, c.kind, c.text)
		got := map[string]int{}
		for text := range c.want {
			at, found := l.Find(text)
			if got[text] = at.Line; found != (at.Line > 0) {
				t.Errorf("%s: found %v at %s", text, found, at)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", c.kind, c.text, diff)
		}
	}
}

// TestFindAddress: an address is in lists of domains by its domain.
func TestFindAddress(t *testing.T) {
	joe := mail.Address{Local: "Joe", Domain: "A.Example.com"}
	for _, c := range []struct {
		kind Kind
		text string
		a    mail.Address
		want int
	}{
		{Domains, "x\n.example.com", joe, 2},
		{Domains, ".example.com", mail.Address{}, 0},
		{Addresses, "x@y\nJoe@a.example.com", joe, 2},
		{Addresses, "x@y", mail.Address{}, 0},
		{Patterns, "x\njoe@*.com", joe, 2},
		{Patterns, "x\n<>", mail.Address{}, 2},
		{Patterns, "postmaster", mail.Address{Local: "Postmaster"}, 1},
		{Networks, "0.0.0.0/0", joe, 0},
	} {
		at, found := parse(t, c.kind, c.text).FindAddress(c.a)
		if at.Line != c.want || found != (c.want > 0) {
			t.Errorf("%s in %s %q: line %d, %v; want %d", c.a.Path(), c.kind, c.text, at.Line, found, c.want)
		}
	}
	if _, found := parse(t, Domains, ".example.com").FindIP(netip.MustParseAddr("192.0.2.1")); found {
		t.Error("an IP address is in a list of domains")
	}
}

func TestWrong(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{Networks, "10.1.2.3/8\n", `list:1:1: "10.1.2.3/8" is an address within a network (write "10.0.0.0/8" for the network, or the address alone)`},
		{Networks, "ok.example\n", `list:1:1: "ok.example" is not an IP address (` + networkHint + `)`},
		{Networks, "10.0.0.0 255.0.255.0", `list:1:10: the mask 255.0.255.0 has gaps (ones come first in a mask: "255.255.255.0")`},
		{Networks, "10.0.0.0  0.255.0.0", `list:1:11: the mask 0.255.0.0 has gaps (ones come first in a mask: "255.255.255.0")`},
		{Networks, "10.0.0.0 255.255.255.0 x", `list:1:24: is more than an address and a mask (` + networkHint + `)`},
		{Networks, "10.0.0.0 24", `list:1:10: "24" is not the mask of 10.0.0.0 (` + networkHint + `)`},
		{Networks, "10.0.0.0 ffff::", `list:1:10: "ffff::" is not the mask of 10.0.0.0 (` + networkHint + `)`},
		{Networks, "fe80::1%eth0", `list:1:1: "fe80::1%eth0" is not an IP address (` + networkHint + `)`},
		{Networks, "10.0.0.0/33", `list:1:1: "10.0.0.0/33" is not a network (` + networkHint + `)`},
		{Networks, "::ffff:10.0.0.0/104", `list:1:1: "::ffff:10.0.0.0/104" is not a network (` + networkHint + `)`},
		{Domains, "a.example b.example", `list:1:11: goes on behind "a.example" (write one entry a line, and "#" before a comment)`},
		{Domains, "joe@example.com", `list:1:1: "joe@example.com" is an address, not a domain (write "example.com" for the domain itself, ".example.com" for all below it; addresses are for a list of the kind "addresses")`},
		{Domains, "*.a*.example", `list:1:4: "*.a*.example" has a * that is not its first label (write "example.com" for the domain itself, ".example.com" for all below it; other patterns are for a list of the kind "patterns")`},
		{Domains, "[192.0.2.1]", `list:1:1: "[192.0.2.1]" is an address, not a domain (write "example.com" for the domain itself, ".example.com" for all below it)`},
		{Domains, "\n\n  a..b", `list:3:3: "a..b" is not a domain: domain malformed: empty label (write "example.com" for the domain itself, ".example.com" for all below it)`},
		{Addresses, "example.com", `list:1:1: "example.com": not an address of the form local-part@domain: no @ (write local-part@domain, such as "joe@example.com")`},
		{Addresses, "postmaster", `list:1:1: "postmaster" has no domain (write local-part@domain, such as "joe@example.com")`},
		{Addresses, "ü *@example.*", `list:1:3: goes on behind "ü" (write one entry a line, and "#" before a comment)`},
		{Addresses, "*@example.*", `list:1:1: "*@example.*" is not an address (write local-part@domain, such as "joe@example.com"; patterns are for a list of the kind "patterns")`},
		{Addresses, "a@b c\nx", "list:1:5: goes on behind \"a@b\" (write one entry a line, and \"#\" before a comment)\n" +
			`list:2:1: "x": not an address of the form local-part@domain: no @ (write local-part@domain, such as "joe@example.com")`},
		{Patterns, "x@b*ü.example", `list:1:1: "x@b*ü.example" has a * in a label that is not ASCII: in DNS it has another form (write the whole label, or a "*" in its place)`},
		{Patterns, "a\x00b", "list:1:2: has a character that is no text (save the file as plain text in UTF-8)"},
		{Patterns, "ü\xffb", "list:1:2: has a character that is no text (save the file as plain text in UTF-8)"},
		{Patterns, strings.Repeat("x", MaxLine) + "\r\ny\n" + strings.Repeat("x", MaxLine+1), "list:3:1: has 1025 octets; the limit is 1024 (write one entry a line)"},
	} {
		l, err := Parse(c.kind, "list", []byte(c.text))
		if err == nil || l != nil || err.Error() != c.want {
			t.Errorf("%s %q:\n%v, want\n%s", c.kind, c.text, err, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	all := parse(t, Patterns, strings.Repeat("x\n", MaxLines))
	if all.Len() != 1 {
		t.Errorf("what is written %d times counts as %d", MaxLines, all.Len())
	}
	_, err := Parse(Patterns, "list", []byte(strings.Repeat("\n", MaxLines)+"x"))
	if err == nil || err.Error() != "list:100001:1: is one line too many; 100000 can be read (make two lists of it)" {
		t.Error(err)
	}
	_, err = Parse(Domains, "list", []byte(strings.Repeat("a b\n", maxProblems+7)))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxProblems+1 || lines[maxProblems] != "list: has 7 more that are wrong" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	var slow strings.Builder
	for i := range MaxSteps {
		fmt.Fprintf(&slow, "*%d*\n", i)
	}
	for i := range MaxLines - MaxSteps {
		fmt.Fprintf(&slow, "*x%d*\n", i)
	}
	_, err = Parse(Patterns, "list", []byte(slow.String()))
	if err == nil || !strings.HasPrefix(err.Error(), "list:1000:1: is a pattern too many that must be tried one after the other; 1000 can") {
		t.Error(err)
	}
}

// TestStepsDoNotGrow: a look-up in 100,000 entries takes as few steps as the kind
// allows, whatever the entries are.
func TestStepsDoNotGrow(t *testing.T) {
	write := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i) + "\n")
		}
		return b.String()
	}
	for _, c := range []struct {
		name string
		kind Kind
		line func(i int) string
		ask  string
		most int
	}{
		{"addresses of hosts", Networks, func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }, "192.0.2.1", 1},
		{"networks of all sizes", Networks, func(i int) string {
			p, _ := netip.AddrFrom4([4]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i)}).Prefix(i % 33)
			return p.String()
		}, "1.1.1.1", 33},
		{"IPv6", Networks, func(i int) string {
			p, _ := netip.AddrFrom16([16]byte{0x20, byte(i), byte(i >> 8), byte(i >> 16), byte(i)}).Prefix(i%128 + 1)
			return p.String()
		}, "2001:db8::1", 129},
		{"domains", Domains, func(i int) string { return fmt.Sprintf(".d%d.example.com", i) }, "a.b.c.example.com", 5},
		{"mail addresses", Addresses, func(i int) string { return fmt.Sprintf("u%d@example.com", i) }, "x@example.com", 1},
		{"patterns of domains", Patterns, func(i int) string { return fmt.Sprintf("*@d%d.example.com", i) }, "x@example.com", 6},
		{"patterns at both ends", Patterns, func(i int) string { return fmt.Sprintf("a%d@*.d%d.com", i, i) }, "a5@x.d6.com", 6},
		{"patterns with two stars", Patterns, func(i int) string { return fmt.Sprintf("a%d*@*.d%d.com", i, i) }, "a5@x.d6.com", 11},
	} {
		l := parse(t, c.kind, write(MaxLines, c.line))
		var steps int
		l.index.find(queryFor(t, l, c.ask), &steps)
		if steps > c.most || steps == 0 {
			t.Errorf("%s: %d steps among %d entries, want at most %d", c.name, steps, l.Len(), c.most)
		}
	}
}

func queryFor(t *testing.T, l *List, text string) query {
	t.Helper()
	switch l.kind {
	case Networks:
		return query{ip: netip.MustParseAddr(text)}
	case Domains:
		return query{domain: text}
	case Addresses:
		a, err := mail.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		return query{address: a}
	}
	return query{text: textOf(text)}
}

// TestPatternsAsNaive: the index finds the pattern that a look at each one finds.
func TestPatternsAsNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	word := func(letters string, most int) string {
		b := make([]byte, random.IntN(most+1))
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	for range 300 {
		var written []string
		for range 1 + random.IntN(30) {
			if p := word("ab**", 6); p != "" {
				written = append(written, p)
			}
		}
		l := parse(t, Patterns, strings.Join(written, "\n"))
		for range 50 {
			text := word("aB", 8)
			at, _ := l.Find(text)
			if want := naive(written, text); at.Line != want {
				t.Fatalf("%q in %q: line %d, want %d", text, written, at.Line, want)
			}
		}
	}
}

func naive(written []string, text string) (line int) {
	var literal, stars int
	for i, p := range written {
		if !mail.Like(p, text) {
			continue
		}
		pattern := mail.NewPattern(p)
		s := pattern.Stars()
		n := len(pattern.String()) - s
		exact, wasExact := s == 0, line > 0 && stars == 0
		if line == 0 || exact && !wasExact || exact == wasExact && (n > literal || n == literal && s < stars) {
			line, literal, stars = i+1, n, s
		}
	}
	return line
}

// FuzzParse: every file is a list, or has problems with places in it; an entry of a
// list is found in it.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"10.1.2.3 255.255.255.0\n::1", "*.example.com # x", `"a #b\"c"@example.com`, "*@*ü.x*\n<>", "\ufeffx\r\n\x00", "a@b@c.*\n"} {
		for kind := range 4 {
			f.Add(kind, text)
		}
	}
	f.Fuzz(func(t *testing.T, n int, text string) {
		kind := []Kind{Networks, Domains, Addresses, Patterns}[uint(n)%4]
		l, err := Parse(kind, "list", []byte(text))
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "list:") {
					t.Errorf("%q: %q has no place", text, line)
				}
			}
			return
		}
		for number, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
			entry := strings.TrimSpace(withoutComment(line))
			if entry == "" || kind == Networks || strings.Contains(entry, "*") || kind == Domains && entry[0] == '.' {
				continue
			}
			at, found := l.Find(entry)
			if !found || at.Line > number+1 || at.Line < 1 {
				t.Errorf("%q of line %d is found at %s, %v", entry, number+1, at, found)
			}
		}
		if _, found := l.Find("nobody@nothing.invalid.test"); found && l.Len() == 0 {
			t.Error("found in an empty list")
		}
	})
}

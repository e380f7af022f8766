package daemon

import (
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/mail"
)

// words are what addresses of TestNoHole are made of: names, and all that ever stood
// for a route in one, or looks like it.
var words = strings.Fields(`joe sales nobody postmaster r- s- elsewhere.example near.example gate.example nähe.example
	xn--nhe-qla.example grün.example localhost elsewhere near gate example [127.0.0.1] [192.0.2.9] [IPv6:::1] [IPv6:2001:db8::9]
	@ @ @ % % ! . . : , ; " " \ \" < > ( ) + - = / $ {smtp.helo.domain} * ? ` +
	"\u3002 \uff0e \uff20 \uff05 \u00ad \u200d \u212a \u0130 \u0131 \u017f \u0308 \u2024 \U000e0001 \u202e")

// strangeAddress makes a recipient of some words, and often one that is none.
func strangeAddress(r *rand.Rand) string {
	word := func(n int) string {
		var b strings.Builder
		for range 1 + r.IntN(n) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String()
	}
	local, domain := word(3), words[6+r.IntN(12)]
	switch r.IntN(8) {
	case 0:
		return "<" + word(6) + ">"
	case 1, 5:
		local = `"` + strings.ReplaceAll(local, `"`, `\"`) + `"`
	case 2:
		at := r.IntN(len(domain))
		domain = domain[:at] + words[r.IntN(len(words))] + domain[at:]
	case 3:
		local = []string{"joe", "sales", "r-joe", "s-joe", "postmaster"}[r.IntN(5)] + "%" + words[6+r.IntN(12)]
	case 4:
		local = "@" + words[6+r.IntN(12)] + ":joe"
	case 6:
		local = []string{"sales", "r-joe", "s-joe", "postmaster"}[r.IntN(4)]
	}
	return "<" + local + "@" + domain + ">"
}

// rewriting are handlers that make addresses of what clients write.
const rewriting = `[[handler]]
at = "rcpt"
recipient = ["r-*"]
steps = [{ rewrite_recipient = "*@near.example" }]
[[handler]]
at = "rcpt"
recipient = ["s-*"]
steps = [{ rewrite_recipient = "all-*@*" }]
`

// escaped are the recipients of a message that go neither to this host, which is to say
// to its postmaster or where the administrator redirects, nor, if it is allowed, to a
// near domain.
func escaped(stored []string, nearToo bool) []string {
	allowed := map[string]bool{"corp.example": true, "inside.example": true, "near.example": nearToo, "xn--nhe-qla.example": nearToo}
	var list []string
	for _, s := range stored {
		address, destination, _ := strings.Cut(s, " by ")
		for _, domain := range []string{address[strings.LastIndexByte(address, '@')+1:], destination} {
			if ascii, err := mail.ASCIIDomain(domain); err != nil || !allowed[strings.ToLower(ascii)] {
				list = append(list, s)
				break
			}
		}
	}
	return list
}

// TestNoHole sends thousands of addresses as a client that is in no list: whatever
// they are, what is in the queue then goes nowhere else than it may.
func TestNoHole(t *testing.T) {
	const messages, recipients = 10, 100
	r := relaying(t, doors(), relayLists, rewriting)
	source := rand.New(rand.NewPCG(1, 2))
	taken, refused := map[bool]int{}, 0
	for _, d := range doors() {
		if d.option == "everybody" || d.override {
			continue
		}
		nearToo := d.option == "near" || d.option == "both"
		for range messages {
			paths := make([]string, recipients)
			for i := range paths {
				paths[i] = strangeAddress(source)
			}
			got := r.offer(t, d.name(), "127.0.0.10", paths)
			stored := r.stored(t, got.id)
			if found := escaped(stored, nearToo); len(found) > 0 {
				t.Errorf("%+v: in the queue is %q\nof %q", d, found, paths)
			}
			taken[nearToo] += len(stored)
			for _, reply := range got.replies {
				if reply.Code == 550 {
					refused++
				}
			}
		}
		// For a client that may send to anywhere the same is no hole: the test would see one.
		if d.option == "clients" {
			paths := []string{"<joe@near.example>", "<joe@elsewhere.example>", "<joe@[192.0.2.9]>"}
			if found := escaped(r.stored(t, r.offer(t, d.name(), "127.0.0.11", paths).id), true); len(found) != 2 {
				t.Errorf("a trusted client's recipients are %q", found)
			}
		}
	}
	if taken[true] < 200 || taken[false] < 10 || refused < 2000 {
		t.Errorf("%v were taken, %d refused: too few to say anything", taken, refused)
	}
	t.Logf("%v were taken, %d refused", taken, refused)
	r.end(t)
}

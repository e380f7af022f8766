package peers

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"postern/test/harness"
)

// What the receivers of mixed mail do not take at once is known by its local
// part: there is no gone@, late@ must come again, and from refused@ nothing is
// taken at the end of data.
const gone, late, refused = "gone", "late", "refused@sender.example"

// askings are envelopes: what senders ask for, and for whom.
var askings = []struct {
	from, options string
	to            []asked
}{
	{"", "", []asked{{"fine", ""}}},
	{"", "RET=HDRS ENVID=success", []asked{{"fine", "NOTIFY=SUCCESS ORCPT=rfc822;Fine@before.example"}}},
	{"", "ENVID=quiet", []asked{{"fine", "NOTIFY=NEVER"}, {gone, "NOTIFY=NEVER"}}},
	{"", "RET=FULL", []asked{{"fine", "NOTIFY=SUCCESS,FAILURE,DELAY"}, {"well", "NOTIFY=FAILURE"}}},
	{"", "", []asked{{gone, ""}}},
	{"", "RET=FULL ENVID=full+2B1+3D2", []asked{{gone, "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Gone+2BAway@before.example"}}},
	{"", "RET=HDRS ENVID=mixed", []asked{
		{gone, "NOTIFY=FAILURE"}, {"fine", "NOTIFY=SUCCESS"}, {gone, "NOTIFY=SUCCESS,DELAY"}, {"well", ""}, {gone, ""}, {"good", "NOTIFY=SUCCESS"}}},
	{refused, "RET=FULL ENVID=data", []asked{{"fine", "NOTIFY=FAILURE"}, {"well", "NOTIFY=NEVER"}, {"good", ""}, {gone, ""}}},
	{"<>", "RET=FULL ENVID=null", []asked{{"fine", "NOTIFY=SUCCESS,FAILURE"}, {gone, "NOTIFY=SUCCESS,FAILURE"}}},
	{"<>", "", []asked{{"fine", ""}}},
	{"", "RET=FULL ENVID=late", []asked{
		{late, "NOTIFY=DELAY,SUCCESS"}, {late, "NOTIFY=NEVER"}, {late, ""}, {late, "NOTIFY=FAILURE"}, {"fine", "NOTIFY=DELAY"}}},
}

// asked is a recipient's local part and the options of its RCPT.
type asked struct{ local, options string }

// mixedMail returns n messages, the same for the same passage.
func mixedMail(p passage, n int) []*harness.Message {
	random := rand.New(rand.NewPCG(p.seed, 4))
	var letters []*harness.Message
	for i := range n {
		m := &harness.Message{ID: fmt.Sprintf("mixed-%d-%d", p.seed, i), From: fmt.Sprintf("sender-%d@sender.example", i)}
		asking := askings[i%len(askings)]
		if asking.from != "" {
			m.From = strings.Trim(asking.from, "<>")
		}
		m.Options = asking.options
		to := asking.to
		switch {
		case i%40 == 3:
			to = crowded(random)
		case p.to == postfixKind: // it cannot be told to let through what was late
			to = slices.DeleteFunc(slices.Clone(to), func(a asked) bool { return a.local == late })
		}
		domains := []string{"one.example.net", "two.example.net", "three.example.net"}
		if i%17 == 5 && p.knowsUTF8() {
			m.UTF8, domains = true, []string{"bücher.example", "例え.example"}
			if p.utf8 { // so that the report arrives; Postfix's puts a backslash into each character of a local part
				m.From = "absender@grüße.example"
			}
		}
		for k, a := range to {
			m.To = append(m.To, fmt.Sprintf("%s@%d.%s", a.local, k, domains[k%len(domains)]))
			m.ToOptions = append(m.ToOptions, a.options)
		}
		m.Content = mixedContent(random, m, i)
		letters = append(letters, m)
	}
	return letters
}

// knowsUTF8 reports whether there is mail that needs SMTPUTF8: Python reads no
// message/global that had to be encoded.
func (p passage) knowsUTF8() bool { return p.utf8 || p.eightBit }

// crowded are many recipients, who want all kinds of things.
func crowded(random *rand.Rand) []asked {
	locals := []string{"fine", "well", "good", gone}
	options := []string{"", "NOTIFY=NEVER", "NOTIFY=FAILURE", "NOTIFY=SUCCESS", "NOTIFY=SUCCESS,FAILURE,DELAY"}
	var to []asked
	for range 20 + random.IntN(60) {
		to = append(to, asked{locals[random.IntN(len(locals))], options[random.IntN(len(options))]})
	}
	return to
}

// large are the sizes of the few large messages, by their places.
var large = map[int]int{20: 2e6, 60: 1e6, 61: 500e3, 100: 200e3, 140: 100e3}

// mixedContent returns header and body of message i.
func mixedContent(random *rand.Rand, m *harness.Message, i int) []byte {
	to := ""
	if len(m.To) > 0 {
		to = m.To[0]
	}
	head := string(harness.Header(m.ID, m.From, to))
	if m.UTF8 {
		return []byte("X-Subject: Grüße 😀\r\n" + head + "Bis später\r\n")
	}
	if size := large[i]; size > 0 {
		return []byte(head + randomText(random, size))
	}
	// Nothing lies near the size up to which a message is returned whole.
	size := 1 << (10 + min(random.IntN(6), random.IntN(6)))
	size += random.IntN(size / 8)
	switch random.IntN(6) {
	case 0:
		return []byte(head + randomText(random, size))
	case 1:
		return []byte(head + string(harness.Text(size)))
	case 2:
		bodies := specialBodies()
		return []byte(head + bodies[random.IntN(len(bodies))])
	case 3:
		return entity(head, "text/plain; charset=utf-8", eightBitText(size))
	case 4:
		return entity(head, `multipart/mixed; boundary="=_b"`, multipart(random, size))
	default:
		inner := entity("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n", `multipart/mixed; boundary="=_b"`, multipart(random, size))
		return entity(head, "message/rfc822", string(inner))
	}
}

// entity puts an 8-bit body under a header.
func entity(head, mediaType, body string) []byte {
	head = strings.TrimSuffix(head, "\r\n") + "X-Folded: one\r\n\ttwo\r\n   three \r\n" +
		"MIME-Version: 1.0\r\nContent-Type: " + mediaType + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
	return []byte(head + body)
}

// eightBitText is text of about size octets that is not easily encoded.
func eightBitText(size int) string {
	return strings.Repeat("Größe: 10 €, = und \t \r\n.\r\n..\r\n", size/32)
}

// multipart is a body of parts in every encoding.
func multipart(random *rand.Rand, size int) string {
	octets := make([]byte, 57*(1+size/300))
	for i := range octets {
		octets[i] = byte(random.Uint32())
	}
	var encoded strings.Builder
	for line := range slices.Chunk(octets, 57) {
		encoded.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	parts := []string{
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + eightBitText(size/3),
		"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
			strings.Repeat("<p>Gr=C3=B6=C3=9Fe =3D 10 =E2=82=AC=20\r\n.=\r\nx</p>\r\n", size/150),
		"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded.String(),
		"\r\nno header\r\n",
	}
	return "--=_b\r\n" + strings.Join(parts, "\r\n--=_b\r\n") + "\r\n--=_b--\r\n"
}

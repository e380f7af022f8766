package message

import (
	"bytes"
	"strings"
)

// content looks at the body of a part for what its encoding hides: whether it can
// be decoded, and names of files within text.
type content struct {
	decoder  decoder
	text     bool // it is looked at for files
	line     []byte
	buf      []byte
	names    []string
	looked   int64
	isBroken bool
}

// decoder undoes a Content-Transfer-Encoding.
type decoder interface {
	// decode appends what p decodes to, and reports whether it is as it
	// should be.
	decode(dst, p []byte) ([]byte, bool)
	// end reports whether the content may end here.
	end() bool
}

// newDecoder returns the decoder of an encoding, and whether it is known.
func newDecoder(encoding string) (decoder, bool) {
	switch encoding {
	case "7bit", "8bit", "binary":
		return identity{}, true
	case "x-uuencode", "x-uue", "uuencode": // not of RFC 2045; the name stands in the content
		return identity{}, true
	case "base64":
		return new(base64Decoder), true
	case "quoted-printable":
		return new(quotedDecoder), true
	}
	return identity{}, false
}

// newContent returns what looks at the body of a part that declares d. For a
// part that is not looked into, d is nil.
func newContent(d *declared) *content {
	if d == nil {
		return &content{decoder: identity{}}
	}
	c := &content{text: d.text() || strings.Contains(d.encodings[0], "uu")}
	c.decoder, _ = newDecoder(d.encodings[0])
	if q, is := c.decoder.(*quotedDecoder); is {
		q.text = d.text()
	}
	return c
}

// look looks at the next piece of the body as it stands.
func (c *content) look(p []byte) {
	decoded, ok := c.decoder.decode(c.buf[:0], p)
	c.isBroken = c.isBroken || !ok
	c.looked += int64(len(p))
	if _, same := c.decoder.(identity); !same {
		c.buf = decoded
	}
	if c.text {
		c.scan(decoded)
	}
}

// end reports whether the content was encoded as it should be.
func (c *content) end() bool {
	if c.text {
		c.endLine()
	}
	return c.decoder.end() && !c.isBroken
}

// maxBeginLine is how much of a line is kept to find the name of a file in it.
const maxBeginLine = 1000

// scan finds files in decoded text.
func (c *content) scan(p []byte) {
	c.looked += int64(len(p))
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte("\n"))
		c.line = append(c.line, line[:min(len(line), maxBeginLine-len(c.line))]...)
		if found {
			c.endLine()
		}
		p = rest
	}
}

func (c *content) endLine() {
	if name := fileInText(strings.TrimRight(string(c.line), "\r")); name != "" && len(c.names) <= maxNames {
		c.names = append(c.names, name)
	}
	c.line = c.line[:0]
}

// fileInText returns the name in a line that begins a file in text: by uuencode
// (POSIX, "begin 644 name", also its base64), as Outlook Express takes it ("begin"
// and two spaces), or by yEnc; else "".
func fileInText(line string) string {
	if rest, is := strings.CutPrefix(line, "=ybegin "); is {
		_, name, _ := strings.Cut(rest, "name=")
		return strings.TrimSpace(name)
	}
	rest, is := strings.CutPrefix(line, "begin")
	if !is {
		return ""
	}
	rest = strings.TrimPrefix(rest, "-base64")
	name := strings.TrimLeft(rest, " \t")
	if name == rest {
		return ""
	}
	two := strings.HasPrefix(rest, "  ")
	mode := name[:len(name)-len(strings.TrimLeft(name, "01234567"))]
	behind := name[len(mode):]
	if trimmed := strings.TrimSpace(behind); len(mode) >= 3 && len(mode) <= 6 && trimmed != "" && behind[0] <= ' ' {
		return trimmed
	}
	if two {
		return strings.TrimSpace(name)
	}
	return ""
}

// identity is no encoding.
type identity struct{}

func (identity) decode(_, p []byte) ([]byte, bool) { return p, true }
func (identity) end() bool                         { return true }

// base64Decoder decodes base64 (RFC 2045 6.8), as far as it can when there is
// something else in it.
type base64Decoder struct {
	bits    uint32
	n       int // characters of the quantum
	padding int // of it
	ended   bool
}

func (d *base64Decoder) decode(dst, p []byte) ([]byte, bool) {
	ok := true
	if d.n == 0 && !d.ended && d.padding == 0 {
		dst, p = appendQuanta(dst, p)
	}
	for _, c := range p {
		v := base64Values[c]
		switch {
		case v != noBase64:
			if d.ended || d.padding > 0 { // some decode what stands behind the end
				ok = false
				dst = d.flush(dst)
				d.ended = false
			}
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst = d.flush(dst)
			}
		case c == '=':
			if d.padding++; d.n+d.padding > 4 || d.n < 2 {
				ok = false
			}
			if d.n+d.padding >= 4 {
				dst = d.flush(dst)
				d.ended = true
			}
		case c != '\r' && c != '\n' && c != ' ' && c != '\t':
			ok = false
		}
	}
	return dst, ok
}

// appendQuanta appends what whole quanta at the begin of p decode to, and returns
// the rest of p: usually the end of a line.
func appendQuanta(dst, p []byte) (out, rest []byte) {
	for len(p) >= 4 {
		a, b, c, d := base64Values[p[0]], base64Values[p[1]], base64Values[p[2]], base64Values[p[3]]
		if a|b|c|d == noBase64 {
			break
		}
		dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|d)
		p = p[4:]
	}
	return dst, p
}

// base64Values are the values of the characters of base64 (RFC 2045 6.8).
var base64Values = func() (values [256]byte) {
	for i := range values {
		values[i] = noBase64
	}
	for v, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		values[c] = byte(v)
	}
	return values
}()

const noBase64 = 0xff

// flush appends the octets of a quantum.
func (d *base64Decoder) flush(dst []byte) []byte {
	bits := d.bits << (6 * max(0, 4-d.n))
	octets := [3]byte{byte(bits >> 16), byte(bits >> 8), byte(bits)}
	if d.n > 1 {
		dst = append(dst, octets[:d.n-1]...)
	}
	d.bits, d.n, d.padding = 0, 0, 0
	return dst
}

func (d *base64Decoder) end() bool { return d.n == 0 && d.padding == 0 }

// quotedDecoder decodes quoted-printable (RFC 2045 6.7). What is malformed stays
// as it is, as all readers of mail have it. In text that is common and no
// fault.
type quotedDecoder struct {
	text bool
	held []byte // "=" and what belongs to it, as far as it has come
}

func (d *quotedDecoder) decode(dst, p []byte) ([]byte, bool) {
	ok := true
	for len(p) > 0 {
		if len(d.held) == 0 {
			i := bytes.IndexByte(p, '=')
			if i < 0 {
				return append(dst, p...), ok
			}
			dst = append(dst, p[:i]...)
			d.held = append(d.held, '=')
			p = p[i+1:]
			continue
		}
		c := p[0]
		switch n := len(d.held); {
		case c == '\n' && len(bytes.Trim(d.held[1:], " \t\r")) == 0: // a soft line break
			d.held = d.held[:0]
		case n == 1 && isHex(c), (c == ' ' || c == '\t' || c == '\r') && n < maxSoftBreak && (n == 1 || !isHex(d.held[1])):
			d.held = append(d.held, c)
		case n == 2 && isHex(d.held[1]) && isHex(c):
			dst = append(dst, unhex(d.held[1])<<4|unhex(c))
			d.held = d.held[:0]
		default:
			ok = ok && d.text
			dst = append(dst, d.held...)
			d.held = d.held[:0]
			continue // with the same octet
		}
		p = p[1:]
	}
	return dst, ok
}

// maxSoftBreak is how much white space there may be behind a "=" at the end of
// a line.
const maxSoftBreak = 100

func (d *quotedDecoder) end() bool { return d.text || len(d.held) <= 1 }

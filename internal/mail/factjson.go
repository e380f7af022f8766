package mail

import (
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// AppendFact appends a fact as JSON, as its struct tags say (whoever gives facts
// a new field adds it here, as TestAppendFact asks for), in the form of
// PlainJSON and without the escapes that HTML would need: people read
// <joe@example.com> here. Each message brings several facts, and each is
// written twice: package encoding/json took a tenth of all the time.
//
// It fails for a time whose year has more than four digits; dst is returned then as it
// was.
func AppendFact(dst []byte, f *Fact) ([]byte, error) {
	a := factAppender{b: dst}
	a.b = append(a.b, `{"source":`...)
	a.b = appendJSONString(a.b, f.Source)
	a.b = append(a.b, `,"n":`...)
	a.b = strconv.AppendUint(a.b, f.N, 10)
	a.time("time", f.Time)
	a.b = append(a.b, `,"reason":`...)
	a.b = appendJSONString(a.b, string(f.Reason))

	a.text("message", string(f.Message))
	a.text("session", string(f.Session))
	a.text("about", string(f.About))
	a.text("from", f.From)
	a.texts("to", f.To)
	a.number("size", f.Size)
	a.text("message_id", f.MessageID)
	a.origin(f.Origin)
	a.text("company", f.Company)
	a.text("class", f.Class)
	a.number("attempt", int64(f.Attempt))
	if !f.Next.IsZero() {
		a.time("next", f.Next)
	}
	a.text("route", f.Route)
	a.text("host", f.Host)
	a.address("address", f.Address)
	a.tls(f.TLS)
	a.tlsPolicy(f.TLSPolicy)
	a.text("command", f.Command)
	a.reply(f.Reply)
	a.flag("remote", f.Remote)
	a.text("hold", string(f.Hold))
	a.trail(f.Trail)
	a.text("actor", f.Actor)
	if f.Count != 0 {
		a.key("count")
		a.b = strconv.AppendUint(a.b, f.Count, 10)
	}
	a.text("text", f.Text)
	a.b = append(a.b, '}')
	if a.err != nil {
		return dst, a.err
	}
	return a.b, nil
}

// factAppender appends fields of JSON objects. Those that are empty are left
// out.
type factAppender struct {
	b   []byte
	err error // the first
}

// key begins a field; a brace before it says that it is the first.
func (a *factAppender) key(name string) {
	if a.b[len(a.b)-1] != '{' {
		a.b = append(a.b, ',')
	}
	a.b = append(a.b, '"')
	a.b = append(a.b, name...)
	a.b = append(a.b, '"', ':')
}

func (a *factAppender) text(name, value string) {
	if value != "" {
		a.key(name)
		a.b = appendJSONString(a.b, value)
	}
}

func (a *factAppender) texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	a.key(name)
	a.b = append(a.b, '[')
	for i, v := range values {
		if i > 0 {
			a.b = append(a.b, ',')
		}
		a.b = appendJSONString(a.b, v)
	}
	a.b = append(a.b, ']')
}

func (a *factAppender) number(name string, value int64) {
	if value != 0 {
		a.key(name)
		a.b = strconv.AppendInt(a.b, value, 10)
	}
}

func (a *factAppender) flag(name string, value bool) {
	if value {
		a.key(name)
		a.b = append(a.b, "true"...)
	}
}

func (a *factAppender) time(name string, value time.Time) {
	a.key(name)
	a.b = append(a.b, '"')
	b, err := value.AppendText(a.b)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.b = append(b, '"')
}

func (a *factAppender) address(name string, value netip.AddrPort) {
	if value == (netip.AddrPort{}) {
		return
	}
	a.key(name)
	if value.Addr().Zone() != "" { // which may hold anything
		a.b = appendJSONString(a.b, value.String())
		return
	}
	a.b = append(a.b, '"')
	if value.IsValid() { // else its text is empty
		a.b = value.AppendTo(a.b)
	}
	a.b = append(a.b, '"')
}

func (a *factAppender) origin(o *Origin) {
	if o == nil {
		return
	}
	a.key("origin")
	a.b = append(a.b, `{"listener":`...)
	a.b = appendJSONString(a.b, o.Listener)
	a.text("session", string(o.Session))
	a.address("client", o.Client)
	a.address("local", o.Local)
	a.address("proxy", o.Proxy)
	a.text("client_name", o.ClientName)
	a.account(o.Account)
	a.user(o.User)
	a.text("hello", o.Hello)
	a.text("protocol", o.Protocol)
	a.tls(o.TLS)
	a.b = append(a.b, '}')
}

func (a *factAppender) account(c *Account) {
	if c == nil {
		return
	}
	a.key("account")
	a.b = append(a.b, `{"name":`...)
	a.b = appendJSONString(a.b, c.Name)
	a.b = append(a.b, `,"source":`...)
	a.b = appendJSONString(a.b, c.Source)
	a.b = append(a.b, `,"mechanism":`...)
	a.b = appendJSONString(a.b, c.Mechanism)
	a.b = append(a.b, '}')
}

func (a *factAppender) user(u *User) {
	if u == nil {
		return
	}
	a.key("user")
	a.b = append(a.b, `{"uid":`...)
	a.b = strconv.AppendUint(a.b, uint64(u.UID), 10)
	a.text("name", u.Name)
	a.b = append(a.b, '}')
}

func (a *factAppender) tls(t *TLS) {
	if t == nil {
		return
	}
	a.key("tls")
	a.b = append(a.b, `{"version":`...)
	a.b = appendJSONString(a.b, t.Version)
	a.b = append(a.b, `,"cipher":`...)
	a.b = appendJSONString(a.b, t.Cipher)
	a.text("server_name", t.ServerName)
	a.flag("verified", t.Verified)
	a.certificate(t.Certificate)
	a.b = append(a.b, '}')
}

func (a *factAppender) certificate(c *Certificate) {
	if c == nil {
		return
	}
	a.key("certificate")
	a.b = append(a.b, `{"fingerprint":`...)
	a.b = appendJSONString(a.b, c.Fingerprint)
	a.text("subject", c.Subject)
	a.texts("names", c.Names)
	if !c.Expires.IsZero() {
		a.time("expires", c.Expires)
	}
	a.b = append(a.b, '}')
}

func (a *factAppender) tlsPolicy(p *TLSPolicy) {
	if p == nil {
		return
	}
	a.key("tls_policy")
	a.b = append(a.b, `{"level":`...)
	a.b = appendJSONString(a.b, p.Level)
	a.text("source", p.Source)
	a.key("met")
	a.b = strconv.AppendBool(a.b, p.Met)
	a.text("because", p.Because)
	a.text("trust", p.Trust)
	a.text("name", p.Name)
	a.text("pin", p.Pin)
	a.text("certificate", p.Certificate)
	a.b = append(a.b, '}')
}

func (a *factAppender) reply(r *Reply) {
	if r == nil {
		return
	}
	a.key("reply")
	a.b = append(a.b, `{"code":`...)
	a.b = strconv.AppendInt(a.b, int64(r.Code), 10)
	a.text("enhanced", r.Enhanced)
	a.text("text", r.Text)
	a.b = append(a.b, '}')
}

func (a *factAppender) trail(decisions []Decided) {
	if len(decisions) == 0 {
		return
	}
	a.key("trail")
	a.b = append(a.b, '[')
	for i, d := range decisions {
		if i > 0 {
			a.b = append(a.b, ',')
		}
		a.b = append(a.b, `{"rule":`...)
		a.b = appendJSONString(a.b, d.Rule)
		a.text("place", d.Place)
		a.text("step", d.Step)
		a.b = append(a.b, `,"effect":`...)
		a.b = appendJSONString(a.b, d.Effect)
		a.b = append(a.b, '}')
	}
	a.b = append(a.b, ']')
}

// appendJSONString appends a string (RFC 8259 7) in which each character that
// cannot be printed stands as its escape. What is not UTF-8 becomes U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // of what stands as it is
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c <= '~' && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r >= utf8.RuneSelf && unicode.IsPrint(r) && !(r == utf8.RuneError && n == 1) {
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == utf8.RuneError && n == 1:
			dst = append(dst, `\ufffd`...)
		default:
			dst = appendControl(dst, r)
		}
		i += n
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendControl appends the shortest escape of a character.
func appendControl(dst []byte, r rune) []byte {
	switch r {
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return appendEscape(dst, r)
}

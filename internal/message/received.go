package message

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// foldAt is the line length that lines of our own are folded to where a
// space allows it (RFC 5322 2.1.1).
const foldAt = 78

// FormatDate returns t as a date-time (RFC 5322 3.3), in t's time zone.
func FormatDate(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// MessageID returns the Message-ID (RFC 5322 3.6.4) of the message with the
// id, made at host. An id is never used twice, so neither is this.
func MessageID(id mail.ID, host string) string { return "<" + string(id) + "@" + host + ">" }

// Received is the trace field that acceptance puts on top of a message
// (RFC 5321 4.4).
type Received struct {
	Origin mail.Origin
	// Host is the name of this server.
	Host string
	ID   mail.ID
	// Recipients are those of the transaction. Only a single one is named,
	// because naming several would tell each of the others (RFC 5321 7.2).
	Recipients []mail.Recipient
	Time       time.Time
	// Account says that the account of the client is named.
	Account bool
}

// String returns the complete field, folded, with its CRLF. What the client
// chose can neither begin a field nor end a comment. Octets that are not
// US-ASCII stand in it only when the protocol is one of UTF8SMTP (RFC 6531).
func (r Received) String() string {
	f := folder{column: len("Received:")}
	f.WriteString("Received:")
	r.addFrom(&f)
	if r.Origin.TLS != nil {
		f.newLine()
		f.word("(using " + clean(strings.Replace(r.Origin.TLS.Version, "TLS ", "TLSv", 1)))
		f.word("with cipher " + clean(r.Origin.TLS.Cipher) + ")")
	}
	if a := r.Origin.Account; a != nil && r.Account {
		f.newLine()
		f.word("(authenticated as " + clean(a.Name) + ")")
	}
	if f.column > len("Received:") {
		f.newLine()
	}
	f.word("by " + r.Host)
	if user := r.Origin.User; user != nil {
		f.word("(from uid " + strconv.FormatUint(uint64(user.UID), 10) + ")")
	}
	if r.Origin.Protocol != "" {
		f.word("with " + clean(r.Origin.Protocol))
	}
	id := "id " + string(r.ID)
	if path, ok := r.recipient(); ok {
		f.word(id)
		f.newLine()
		f.word("for " + path + ";")
	} else {
		f.word(id + ";")
		f.newLine()
	}
	f.word(FormatDate(r.Time))
	f.WriteString("\r\n")
	return f.String()
}

// addFrom writes the from clause; a user of this host has none. A HELO argument that is no domain cannot
// stand where RFC 5321 4.4 wants one: the client's address does, and the
// argument goes into a comment.
func (r Received) addFrom(f *folder) {
	if r.Origin.User != nil {
		return
	}
	client := AddressLiteral(r.Origin.Client.Addr())
	hello := r.Origin.Hello
	valid := mail.CheckDomain(hello) == nil && r.allowed(hello)
	switch {
	case valid:
		f.word("from " + hello)
	case client != "":
		f.word("from " + client)
	default:
		return
	}
	if name := r.Origin.ClientName; client != "" && name != "" {
		f.word("(" + clean(name) + " " + client + ")")
	} else if client != "" {
		f.word("(" + client + ")")
	}
	if !valid && hello != "" {
		f.newLine()
		f.word("(HELO " + clean(hello) + ")")
	}
}

// recipient returns the path of the one recipient that may be named.
func (r Received) recipient() (path string, ok bool) {
	if len(r.Recipients) != 1 {
		return "", false
	}
	path = r.Recipients[0].Address.Path()
	return path, r.allowed(path)
}

// allowed reports whether s can stand in the field as it is.
func (r Received) allowed(s string) bool {
	utf8 := strings.HasPrefix(r.Origin.Protocol, "UTF8SMTP")
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || c >= 0x80 && !utf8 {
			return false
		}
	}
	return true
}

// AddressLiteral returns the literal of RFC 5321 4.1.3, or "" for no address.
func AddressLiteral(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	switch {
	case a.Is4():
		return "[" + a.String() + "]"
	case a.Is6():
		return "[IPv6:" + a.String() + "]"
	}
	return ""
}

// maxClean bounds what a client may have us repeat.
const maxClean = 255

// clean puts "?" for every octet that could end a comment or a clause, or
// is not printable US-ASCII.
func clean(s string) string {
	b := []byte(s[:min(len(s), maxClean)])
	for i, c := range b {
		if c <= ' ' || c > '~' || strings.IndexByte(`()\;"`, c) >= 0 {
			b[i] = '?'
		}
	}
	return string(b)
}

// folder writes a field word by word, folding before a word that would pass
// foldAt.
type folder struct {
	strings.Builder
	column int
	fresh  bool // at the start of a folded line
}

func (f *folder) newLine() {
	f.WriteString("\r\n\t")
	f.column, f.fresh = 1, true
}

// word adds text that is not to be broken.
func (f *folder) word(s string) {
	if !f.fresh && f.column+1+len(s) > foldAt {
		f.newLine()
	}
	if !f.fresh {
		f.WriteByte(' ')
		f.column++
	}
	f.WriteString(s)
	f.column, f.fresh = f.column+len(s), false
}

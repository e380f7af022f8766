package directory

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail"
)

// encoder writes records as the image keeps them. Nothing of this is on the disk.
type encoder struct{ b []byte }

func (e *encoder) text(s string)    { e.b = append(binary.AppendUvarint(e.b, uint64(len(s))), s...) }
func (e *encoder) number(n int64)   { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) time(t time.Time) { e.number(millis(t)) }

func (e *encoder) texts(list []string) {
	e.number(int64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

// decoder reads what encoder wrote. Texts share one copy of the record.
type decoder struct{ s string }

func (d *decoder) text() string {
	n := d.uvarint()
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

func (d *decoder) uvarint() uint64 {
	var n uint64
	for shift := 0; ; shift += 7 {
		c := d.s[0]
		d.s = d.s[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
}

func (d *decoder) number() int64 {
	n := d.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) time() time.Time { return fromMillis(d.number()) }

func (d *decoder) texts() []string {
	n := d.number()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.text()
	}
	return list
}

// millis is a time as the database has it: milliseconds since 1970, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// Bits of what is true of a user.
const (
	flagEnabled = 1 << iota
	flagSubmit
	flagRelay
	flagPOP
)

func userFlags(u *User) int64 {
	return bit(u.Enabled)*flagEnabled | bit(u.Services.Submit)*flagSubmit | bit(u.Services.Relay)*flagRelay | bit(u.Services.POP)*flagPOP
}

func (u *User) setFlags(flags int64) {
	u.Enabled = flags&flagEnabled != 0
	u.Services = mail.Services{Submit: flags&flagSubmit != 0, Relay: flags&flagRelay != 0, POP: flags&flagPOP != 0}
}

func encodeUser(u *User) []byte {
	e := encoder{}
	e.text(u.Login)
	e.text(u.Password)
	e.text(u.SCRAM)
	e.number(userFlags(u))
	e.time(u.Expires)
	e.texts(u.Addresses)
	e.texts(u.Delegates)
	e.number(u.Limits.MessagesPerHour)
	e.number(u.Limits.RecipientsPerDay)
	e.number(u.Limits.MaxSize)
	e.text(u.Language)
	e.texts(u.Groups)
	e.texts(networkTexts(u.Networks))
	e.texts(u.Certificates)
	e.text(u.Route)
	e.text(u.Class)
	e.text(u.Note)
	e.time(u.Created)
	e.time(u.Changed)
	return e.b
}

func decodeUser(record []byte) User {
	d := decoder{string(record)}
	u := User{Login: d.text(), Password: d.text(), SCRAM: d.text()}
	u.setFlags(d.number())
	u.Expires = d.time()
	u.Addresses = d.texts()
	u.Delegates = d.texts()
	u.Limits = mail.AccountLimits{MessagesPerHour: d.number(), RecipientsPerDay: d.number(), MaxSize: d.number()}
	u.Language = d.text()
	u.Groups = d.texts()
	u.Networks = networksOf(d.texts())
	u.Certificates = d.texts()
	u.Route = d.text()
	u.Class = d.text()
	u.Note = d.text()
	u.Created = d.time()
	u.Changed = d.time()
	return u
}

func networkTexts(list []netip.Prefix) []string {
	var texts []string
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return texts
}

// networksOf reads what networkTexts wrote; what is none is left out.
func networksOf(texts []string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range texts {
		if p, err := netip.ParsePrefix(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// joinLines and splitLines are how the database keeps several texts in one column: none
// of them can have an end of line in it.
func joinLines(list []string) string { return strings.Join(list, "\n") }

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

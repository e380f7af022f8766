package ldap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/config"
)

// message is one of LDAP (RFC 4511 4.1.1), with the number of the question.
func message(id int64, operation *ber.Packet) []byte {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(operation)
	return p.Bytes()
}

// result ends a question.
func result(tag ber.Tag, code int64) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	for range 2 {
		p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	}
	return p
}

// found is an entry as an answer.
func foundEntry(dn string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap3.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, ""))
	p.AppendChild(ber.NewSequence(""))
	return p
}

// speaking is a server that says what it is told to the first question of a connection,
// again and again if it is endless.
func speaking(t *testing.T, endless bool, say func(id int64) []byte) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				p, err := ber.ReadPacket(c)
				if err != nil {
					return
				}
				id, _ := p.Children[0].Value.(int64)
				for {
					if _, err := c.Write(say(id)); err != nil || !endless {
						break
					}
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// TestStartTLSRefused: without TLS nothing is said, neither a password nor who asks.
func TestStartTLSRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan []byte, 1)
	var running sync.WaitGroup
	running.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		first, _ := ber.ReadPacket(c)
		_, _ = c.Write(message(1, result(ldap3.ApplicationExtendedResponse, ldap3.LDAPResultProtocolError)))
		rest, _ := io.ReadAll(c)
		said <- append(first.Bytes(), rest...)
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	d, err := New(Options{Settings: posix(t, l.Addr().String()), Password: "service-pass"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Password(t.Context(), "joe", "joes-pass"); !isTemporary(err) {
		t.Error(err)
	}
	if got := <-said; bytes.Contains(got, []byte("service-pass")) || bytes.Contains(got, []byte("postern")) || !bytes.Contains(got, []byte("1.3.6.1.4.1.1466.20037")) {
		t.Errorf("said %q", got)
	}
}

// TestHostileServer: whatever a server says, it costs bounded time and memory, and
// nobody is let in, or said not to be there.
func TestHostileServer(t *testing.T) {
	large := bytes.Repeat([]byte{'x'}, 64<<10)
	for name, c := range map[string]struct {
		endless bool
		say     func(id int64) []byte
		want    error // nil: any that is for the moment
	}{
		"endless entries":  {true, func(id int64) []byte { return message(id, foundEntry("cn="+string(large))) }, errTooLarge},
		"of other numbers": {true, func(id int64) []byte { return message(id+7, foundEntry("cn="+string(large))) }, errTooLarge},
		"a huge length":    {true, func(int64) []byte { return append([]byte{0x04, 0x84, 0x7f, 0xff, 0xff, 0xff}, large...) }, errTooLarge},
		"deep":             {true, func(int64) []byte { return bytes.Repeat([]byte{0x30, 0x80}, 4096) }, nil},
		"nonsense":         {false, func(int64) []byte { return []byte("220 smtp.example.com ESMTP\r\n") }, nil},
		"nothing":          {false, func(int64) []byte { return nil }, errSlow},
		"half":             {false, func(id int64) []byte { return message(id, foundEntry("cn=a"))[:5] }, errSlow},
		"no entry's name": {false, func(id int64) []byte {
			return append(message(id, foundEntry("")), message(id, result(ldap3.ApplicationSearchResultDone, 0))...)
		}, nil},
		"another operation": {false, func(id int64) []byte { return message(id, result(ldap3.ApplicationAddResponse, 0)) }, nil},
		"a referral": {false, func(id int64) []byte {
			return message(id, result(ldap3.ApplicationSearchResultDone, ldap3.LDAPResultReferral))
		}, nil},
		"busy": {false, func(id int64) []byte {
			return message(id, result(ldap3.ApplicationSearchResultDone, ldap3.LDAPResultBusy))
		}, errDown},
		"of its own": {false, func(int64) []byte {
			return message(0, result(ldap3.ApplicationExtendedResponse, ldap3.LDAPResultUnavailable))
		}, errSlow},
	} {
		t.Run(name, func(t *testing.T) {
			settings := posix(t, speaking(t, c.endless, c.say))
			settings.TLS, settings.BindDN = config.LDAPClear, ""
			if c.want == nil || errors.Is(c.want, errSlow) { // others are to be told apart from slow
				settings.Timeout = time.Second
			}
			d, err := New(Options{Settings: settings})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			p, err := d.Password(t.Context(), "joe", "joes-pass")
			if !isTemporary(err) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%+v, %v; want %v", p, err, c.want)
			}
		})
	}
}

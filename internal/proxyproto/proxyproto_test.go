package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// read reads a header that comes octet by octet, and returns what is left.
func read(header string) (Header, string, error) {
	br := bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(header)), MaxHeader)
	h, err := Read(br)
	rest, _ := io.ReadAll(br)
	return h, string(rest), err
}

// packed returns a header of version 2.
func packed(command, family byte, rest ...string) string {
	all := strings.Join(rest, "")
	return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(all)))) + all
}

// extra returns a type, a length and a value.
func extra(kind byte, value string) string {
	return string([]byte{kind}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(value)))) + value
}

// summed returns a header whose last extra is its checksum.
func summed(command, family byte, rest string) string {
	all := []byte(packed(command, family, rest, extra(checksum, "\x00\x00\x00\x00")))
	binary.BigEndian.PutUint32(all[len(all)-4:], crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)))
	return string(all)
}

const (
	ends4 = "\xc0\x00\x02\x01" + "\xcb\x00\x71\x05" + "\xdb\xa0" + "\x00\x19"
	ends6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xdb\xa0" + "\x00\x19"
)

func TestRead(t *testing.T) {
	four := Header{netip.MustParseAddrPort("192.0.2.1:56224"), netip.MustParseAddrPort("203.0.113.5:25")}
	six := Header{netip.MustParseAddrPort("[2001:db8::1]:56224"), netip.MustParseAddrPort("[2001:db8::2]:25")}
	for name, c := range map[string]struct {
		header string
		want   Header
	}{
		"version 1, IPv4":            {"PROXY TCP4 192.0.2.1 203.0.113.5 56224 25\r\n", four},
		"version 1, IPv6":            {"PROXY TCP6 2001:db8::1 2001:DB8:0:0::2 56224 25\r\n", six},
		"version 1, IPv4 as IPv6":    {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.5 56224 25\r\n", four},
		"version 1, unknown":         {"PROXY UNKNOWN\r\n", Header{}},
		"version 1, unknown and all": {"PROXY UNKNOWN ffff:f...f:ffff what is this\r\n", Header{}},
		"version 2, IPv4":            {packed(proxied, tcp4, ends4), four},
		"version 2, IPv6":            {packed(proxied, tcp6, ends6), six},
		"version 2, local":           {packed(local, unspecified), Header{}},
		"version 2, local and all":   {packed(local, tcp4, "whatever"), Header{}},
		"version 2, unspecified":     {packed(proxied, unspecified), Header{}},
		"version 2, a Unix socket":   {packed(proxied, unix, strings.Repeat("\x00", 216)), Header{}},
		"version 2, extras":          {packed(proxied, tcp4, ends4, extra(0x01, "smtp"), extra(0xE0, ""), extra(0x20, strings.Repeat("x", 2000))), four},
		"version 2, checksum":        {summed(proxied, tcp4, ends4+extra(0x02, "mx.example")), four},
		"version 2, the longest":     {packed(proxied, tcp4, ends4, extra(0x20, strings.Repeat("x", MaxHeader-fixed-12-3))), four},
	} {
		got, rest, err := read(c.header + "EHLO x\r\n")
		if err != nil || got != c.want || rest != "EHLO x\r\n" {
			t.Errorf("%s: %+v, %v, and %q is left", name, got, err, rest)
		}
	}
}

func TestReadWrong(t *testing.T) {
	broken := []byte(summed(proxied, tcp4, ends4))
	broken[fixed]++
	for _, header := range []string{
		"EHLO x\r\n", "\x16\x03\x01", "PROXY\r\n", "PROXY \r\n", "PROXYX TCP4 192.0.2.1 203.0.113.5 56224 25\r\n", "proxy TCP4 192.0.2.1 203.0.113.5 56224 25\r\n",
		"PROXY TCP4 192.0.2.1 203.0.113.5 56224 25\n", "PROXY TCP4 192.0.2.1 203.0.113.5 56224\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5 56224 25 1\r\n",
		"PROXY  TCP4 192.0.2.1 203.0.113.5 56224 25\r\n", "PROXY TCP4  192.0.2.1 203.0.113.5 56224 25\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5 56224 25 \r\n",
		"PROXY TCP5 192.0.2.1 203.0.113.5 56224 25\r\n", "PROXY UDP4 192.0.2.1 203.0.113.5 56224 25\r\n", "PROXY tcp4 192.0.2.1 203.0.113.5 56224 25\r\n",
		"PROXY TCP4 192.0.2 203.0.113.5 56224 25\r\n", "PROXY TCP4 192.0.2.01 203.0.113.5 56224 25\r\n", "PROXY TCP4 2001:db8::1 2001:db8::2 56224 25\r\n",
		"PROXY TCP6 192.0.2.1 203.0.113.5 56224 25\r\n", "PROXY TCP6 fe80::1%eth0 fe80::2 56224 25\r\n", "PROXY TCP4 mx.test 203.0.113.5 56224 25\r\n",
		"PROXY TCP4 192.0.2.1 203.0.113.5 65536 25\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5 -1 25\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5 +1 25\r\n",
		"PROXY TCP4 192.0.2.1 203.0.113.5 056224 25\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5 56224 0x19\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5  25\r\n",
		"PROXY TCP4 0.0.0.0 203.0.113.5 56224 25\r\n", "PROXY TCP6 ff02::1 2001:db8::2 56224 25\r\n", "PROXY TCP4 192.0.2.1 203.0.113.5 56224 25\r\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", "PROXY UNKNOWN " + strings.Repeat("x", 5000),
		strings.Replace(packed(proxied, tcp4, ends4), "QUIT", "quit", 1),
		packed(0x22, tcp4, ends4), packed(0x11, tcp4, ends4), packed(0x31, tcp4, ends4), packed(proxied, 0x12, ends4), packed(proxied, 0x10, ends4), packed(proxied, 0x41, ends4),
		packed(proxied, tcp4), packed(proxied, tcp4, ends4[:11]), packed(proxied, tcp6, ends4), packed(proxied, unix, ends6),
		packed(proxied, tcp4, "\x00\x00\x00\x00"+ends4[4:]),
		packed(proxied, tcp4, ends4, "x"), packed(proxied, tcp4, ends4, "\x01\x00"), packed(proxied, tcp4, ends4, "\x01\x00\x02x"),
		packed(proxied, tcp4, ends4, extra(checksum, "xxxx")), packed(proxied, tcp4, ends4, extra(checksum, "")), string(broken),
		packed(proxied, tcp4, ends4, extra(0x20, strings.Repeat("x", MaxHeader))), packed(local, unspecified, strings.Repeat("x", MaxHeader)),
	} {
		if h, _, err := read(header); !errors.Is(err, ErrHeader) {
			t.Errorf("%.80q is read as %+v, %v", header, h, err)
		}
	}
}

// TestReadCutOff: a connection that ends within a header has none.
func TestReadCutOff(t *testing.T) {
	for _, header := range []string{"PROXY TCP4 192.0.2.1 203.0.113.5 56224 25\r\n", packed(proxied, tcp4, ends4, extra(0x01, "smtp"))} {
		for n := range len(header) {
			if h, _, err := read(header[:n]); err == nil {
				t.Errorf("%q is read as %+v", header[:n], h)
			}
		}
	}
}

// FuzzRead: whatever comes, a header takes no more than it has, and says who both
// ends are or neither.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 203.0.113.5 56224 25\r\nEHLO x\r\n", "PROXY TCP6 ::1 ::2 1 2\r\n", "PROXY UNKNOWN\r\n", packed(proxied, tcp4, ends4) + "EHLO",
		packed(proxied, tcp6, ends6, extra(1, "smtp")), packed(local, tcp4, ends4), summed(proxied, tcp4, ends4), packed(proxied, unix, strings.Repeat("x", 216)),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(said), MaxHeader)
		h, err := Read(br)
		if err != nil {
			if h != (Header{}) {
				t.Fatalf("%q: %+v and %v", said, h, err)
			}
			return
		}
		rest, _ := io.ReadAll(br)
		if taken := len(said) - len(rest); taken < len("PROXY UNKNOWN\r\n") || taken > MaxHeader || !bytes.HasSuffix(said, rest) {
			t.Fatalf("%q: took %d octets", said, taken)
		}
		if h.Client.IsValid() != h.Local.IsValid() || h.Client.Addr().Zone() != "" || h.Client.Addr().Is4In6() {
			t.Fatalf("%q: %+v", said, h)
		}
	})
}

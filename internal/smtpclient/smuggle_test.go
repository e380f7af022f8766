package smtpclient

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"postern/internal/mail"
)

// victim is a server that takes any newline for a line end, and so a dot
// between any two for the end of data, and drops NUL before it looks. It counts what it takes.
type victim struct {
	br       *bufio.Reader
	nc       net.Conn
	keywords string
	senders  []string
	messages int
}

var anyEnd = regexp.MustCompile(`(?:\r\n|\r|\n)\.(?:\r\n|\n|\r$)$`)

// serve serves one client until it goes.
func (v *victim) serve() {
	v.say("220 victim.example")
	for {
		line, err := v.br.ReadString('\n')
		if err != nil {
			return
		}
		verb, args, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch verb {
		case "EHLO":
			v.say("250-victim.example\r\n250-PIPELINING" + v.keywords + "\r\n250 8BITMIME")
		case "MAIL":
			v.senders = append(v.senders, args)
			v.say("250 ok")
		case "DATA":
			v.say("354 go on")
			if !v.data() {
				return
			}
			v.messages++
			v.say("250 taken")
		case "BDAT":
			size := int64(0)
			fmt.Sscan(args, &size)
			io.CopyN(io.Discard, v.br, size)
			v.messages++
			v.say("250 taken")
		case "QUIT":
			v.say("221 bye")
			return
		default:
			v.say("250 ok")
		}
	}
}

func (v *victim) say(reply string) { io.WriteString(v.nc, reply+"\r\n") }

// data reads to what the victim takes for the end. A CR alone ends a line only
// if no LF follows it.
func (v *victim) data() bool {
	read := []byte("\r\n")
	for {
		c, err := v.br.ReadByte()
		if err != nil {
			return false
		}
		if c == 0 {
			continue
		}
		read = append(read, c)
		if c == '\r' {
			if next, err := v.br.Peek(1); err != nil || next[0] == '\n' {
				continue
			}
		}
		if tail := read[max(0, len(read)-6):]; (c == '\n' || c == '\r') && anyEnd.Match(tail) {
			return true
		}
	}
}

// smuggled are endings as they may lie in a queue, whoever put them there.
var smuggled = []string{
	"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\n.\r\n", "\r\n\x00.\r\n",
	"\r\n.\x00\r\n", "\r\x00\n.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\n\r.\n\r",
}

// TestVictimSeesOneMessage for each that is sent, wherever the endings lie in
// the buffers, by DATA and by BDAT. A second message behind each tells whether
// both are still in step.
func TestVictimSeesOneMessage(t *testing.T) {
	const inner = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<r@x>\r\nDATA\r\nevil\r\n"
	for _, keywords := range []string{"", "\r\n250-CHUNKING"} {
		for _, ending := range smuggled {
			for _, edge := range []int{1, copyBuffer, writeBuffer} {
				for before := range len(ending) + 1 {
					text := strings.Repeat("a", edge-1) + ending + inner
					checkVictim(t, keywords, text[min(before, edge-1):])
				}
			}
		}
	}
}

func checkVictim(t *testing.T, keywords, text string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	v, done := &victim{keywords: keywords}, make(chan bool)
	go func() {
		defer close(done)
		if v.nc, err = l.Accept(); err == nil {
			defer v.nc.Close()
			v.br = bufio.NewReader(v.nc)
			v.serve()
		}
	}()
	conn, err := Dial(t.Context(), "victim.example", netip.MustParseAddrPort(l.Addr().String()), Options{Hostname: "me.example"})
	if err != nil {
		t.Fatal(err)
	}
	first, second := transaction(1, text), transaction(1, "text\r\n")
	first.Body = iotest.DataErrReader(bytes.NewReader([]byte(text)))
	outcomes := append(conn.Send(t.Context(), first), conn.Send(t.Context(), second)...)
	conn.Close()
	<-done
	for _, o := range outcomes {
		if o.State != mail.Delivered {
			t.Errorf("%.30q of %d: %s", text[max(0, len(text)-90):], len(text), brief(o))
		}
	}
	if v.messages != 2 || len(v.senders) != 2 {
		t.Errorf("%.30q of %d: the victim sees %d messages, from %q", text[max(0, len(text)-90):], len(text), v.messages, v.senders)
	}
}

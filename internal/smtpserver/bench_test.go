package smtpserver

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// sink accepts everything and keeps nothing.
type sink struct{ scratch []byte }

func (s *sink) Hello(context.Context, mail.Origin) mail.Reply    { return mail.Reply{} }
func (s *sink) Mail(context.Context, smtp.Mail) mail.Reply       { return mail.Reply{} }
func (s *sink) Rcpt(context.Context, smtp.Rcpt) mail.Reply       { return mail.Reply{} }
func (s *sink) Data(context.Context) mail.Reply                  { return mail.Reply{} }
func (s *sink) Command(context.Context, smtp.Command) mail.Reply { return mail.Reply{} }
func (s *sink) Reset()                                           {}
func (s *sink) End()                                             {}
func (s *sink) Content(_ context.Context, c smtp.Content) mail.Reply {
	for {
		if _, err := c.Read(s.scratch); err == io.EOF {
			return mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok"}
		} else if err != nil {
			return mail.ReplyOf(err)
		}
	}
}

var accept = HandlerFunc(func(context.Context, mail.Origin) (Session, mail.Reply) {
	return &sink{make([]byte, 32<<10)}, mail.Reply{}
})

// BenchmarkSession is one message in a connection of its own, without the
// network.
func BenchmarkSession(b *testing.B) {
	said := []byte("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" +
		strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57) + ".\r\nQUIT\r\n")
	s := New(Options{}, accept)
	b.SetBytes(int64(len(said)))
	b.ReportAllocs()
	for b.Loop() {
		s.serve(context.Background(), &stream{in: bytes.NewReader(said)})
	}
}

// BenchmarkMessages is messages of 4 KiB over kept loopback connections.
func BenchmarkMessages(b *testing.B) {
	s := start(b, Options{MaxMessages: 1 << 30}, accept)
	const commands = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
	content := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57) + ".\r\n"
	b.RunParallel(func(pb *testing.PB) {
		c := s.dial().open()
		for pb.Next() {
			c.send(commands)
			c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", "354 End data with <CR><LF>.<CR><LF>")
			c.send(content)
			c.expect("250 2.0.0 Ok")
		}
	})
}

// BenchmarkIdle reports what a connection costs in memory while it waits for
// a command: buffers and stack of the server, and the sockets of both ends.
// Only its first round is honest (-benchtime 1x): later ones reuse memory.
func BenchmarkIdle(b *testing.B) {
	const count = 400
	nobody := HandlerFunc(func(context.Context, mail.Origin) (Session, mail.Reply) { return &sink{}, mail.Reply{} })
	for b.Loop() {
		s := start(b, Options{MaxConnectionsPerClient: count}, nobody)
		before := inUse()
		for range count {
			nc, err := net.Dial("tcp", s.addr)
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			greeting := make([]byte, 100)
			if _, err := nc.Read(greeting); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(inUse()-before)/count, "B/connection")
		s.stop()
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

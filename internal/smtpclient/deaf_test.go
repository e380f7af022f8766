package smtpclient

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// deafConn is a connection to a server that has stopped reading: after some
// writes each fails, and what the server said before can still be read.
type deafConn struct {
	net.Conn
	writes  int      // that succeed
	replies []string // one for each read
}

var errDeaf = errors.New("broken pipe")

func (c *deafConn) Write(p []byte) (int, error) {
	if c.writes--; c.writes < 0 {
		return 0, errDeaf
	}
	return len(p), nil
}

func (c *deafConn) Read(p []byte) (int, error) {
	if len(c.replies) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.replies[0]+"\r\n")
	c.replies = c.replies[1:]
	return n, nil
}

func (*deafConn) Close() error                     { return nil }
func (*deafConn) SetReadDeadline(time.Time) error  { return nil }
func (*deafConn) SetWriteDeadline(time.Time) error { return nil }

func TestSendToAServerThatStoppedReading(t *testing.T) {
	const lost = "local 451 4.4.2 Connection to mx.example lost "
	long := strings.Repeat("text\r\n", writeBuffer)
	tests := []struct {
		name, body string
		writes     int
		replies    []string
		want       string
	}{
		{"and says 421", "text\r\n", 0, []string{"421 4.3.2 closing"}, "deferred MAIL: remote 421 4.3.2 closing"},
		{"and says what is no answer", "text\r\n", 0, []string{"550 no"},
			"deferred MAIL: " + lost + "while waiting for the reply to MAIL"},
		{"and says nothing", "text\r\n", 1, []string{"250 ok"},
			"deferred RCPT: " + lost + "while waiting for the reply to RCPT"},
		{"in the content, and says why", long, 3, []string{"250 ok", "250 ok", "354 go", "552 5.3.4 too big"},
			"bounced end of data: remote 552 5.3.4 too big"},
		{"in the content, and says 421", long, 3, []string{"250 ok", "250 ok", "354 go", "421 bye"},
			"deferred end of data: remote 421 bye"},
		{"in the content, and says it took it", long, 3, []string{"250 ok", "250 ok", "354 go", "250 ok"},
			"deferred DATA: " + lost + "before the end of the message"},
		{"in the content, and says nothing", long, 3, []string{"250 ok", "250 ok", "354 go"},
			"deferred DATA: " + lost + "before the end of the message"},
		{"at the end of data", "text\r\n", 3, []string{"250 ok", "250 ok", "354 go"},
			"deferred end of data: " + lost + "after the end of the message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			socket := &deafConn{writes: tt.writes, replies: tt.replies}
			conn := newConn(socket, "mx.example", netip.AddrPort{}, Options{}.withDefaults())
			tx := transaction(1, tt.body)
			tx.BeforeDot = func() error {
				if tt.body == long {
					t.Error("BeforeDot was called after a failure")
				}
				return nil
			}
			outcome := conn.Send(t.Context(), tx)[0]
			if got := brief(outcome); got != tt.want || conn.Usable() {
				t.Errorf("got  %s\nwant %s\nusable %t", got, tt.want, conn.Usable())
			}
			if !outcome.Remote && !strings.Contains(outcome.Cause, errDeaf.Error()) {
				t.Errorf("cause %q", outcome.Cause)
			}
			if unknown := strings.Contains(outcome.Cause, errUnknown.Error()); unknown != (outcome.Command == "end of data" && !outcome.Remote) {
				t.Errorf("outcome said to be unknown: %t", unknown)
			}
		})
	}
}

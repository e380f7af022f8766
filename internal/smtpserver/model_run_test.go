package smtpserver

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtp"
)

// trial is one connection, with the reference beside it.
type trial struct {
	machine machine
	handler *modelHandler
	session *session
	facts   mailtest.Facts // those that were not compared yet

	client  *tls.Config
	near    net.Conn // the client's end of the pipe
	rw      net.Conn // it, or TLS over it
	br      *bufio.Reader
	sending sync.WaitGroup
	done    chan struct{}
}

// world makes trials.
type world struct {
	server *tls.Config
	client *tls.Config
	limits limits
	strict bool // TLS is required
}

func newWorld(t testing.TB) *world {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.test"}, NotAfter: time.Now().Add(1 << 55)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	// The quickest there is: thousands of handshakes are made.
	return &world{
		server: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, CurvePreferences: []tls.CurveID{tls.X25519}},
		client: &tls.Config{InsecureSkipVerify: true, ServerName: "mx.test", CurvePreferences: []tls.CurveID{tls.X25519}},
	}
}

const never = 1 << 30

// connect begins a trial, and reads the greeting.
func (w *world) connect() (*trial, error) {
	far, near := net.Pipe()
	tr := &trial{handler: &modelHandler{}, client: w.client, near: near, rw: near, br: bufio.NewReader(near), done: make(chan struct{})}
	tr.machine.limits, tr.machine.strict = w.limits, w.strict
	o := Options{
		Hostname: "mx.test", TLS: w.server, MaxSize: modelSize, MaxRecipients: modelRecipients,
		MaxErrors: never, MaxMessages: never, Record: tr.facts.Record, TLSRequired: w.strict, RequireTLS: true,
	}
	if w.limits != (limits{}) {
		o.MaxErrors, o.MaxMessages = w.limits.errors, w.limits.mails
	}
	s := New(o, HandlerFunc(func(context.Context, mail.Origin) (Session, mail.Reply) { return tr.handler, mail.Reply{} }))
	ctx, cancel := context.WithCancel(context.Background())
	c := newConn(far, bufio.NewReaderSize(nil, readBuffer), cancel)
	s.join(c)
	origin := mail.Origin{Protocol: smtp.ProtocolSMTP}
	tr.session = newSession(s, c, origin)
	go func() {
		defer close(tr.done)
		defer cancel()
		tr.session.run(ctx, s.admit)
		c.close()
		s.leave(c)
	}()
	replies, closed := tr.hear(instant)
	synctest.Wait()
	if closed || len(replies) != 1 || replies[0].code != 220 {
		return tr, fmt.Errorf("greeting %v, closed %v", replies, closed)
	}
	return tr, nil
}

// end ends the connection, and waits for all that runs in it.
func (tr *trial) end() {
	tr.near.Close()
	<-tr.done
	tr.sending.Wait()
}

// Time is fake, and goes on only when the server waits: whatever it has to say
// comes within instant. All its time-outs are over within ages.
const (
	instant = time.Nanosecond
	ages    = time.Hour
)

// say sends without waiting, so that a server that speaks does not wait for it.
func (tr *trial) say(text string) {
	rw := tr.rw
	tr.sending.Go(func() { _, _ = io.WriteString(rw, text) }) // it may have closed
}

// heard is a reply.
type heard struct {
	code  int
	lines []string
}

// hear returns what the server says in this time, and whether it has closed.
func (tr *trial) hear(d time.Duration) (replies []heard, closed bool) {
	tr.rw.SetReadDeadline(time.Now().Add(d))
	var r heard
	for {
		line, err := tr.br.ReadString('\n')
		if err != nil {
			return replies, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		if len(line) < 6 || !strings.HasSuffix(line, "\r\n") || line[3] != ' ' && line[3] != '-' {
			return append(replies, heard{lines: []string{"no reply: " + line}}), false
		}
		r.code, _ = strconv.Atoi(line[:3])
		r.lines = append(r.lines, line[4:len(line)-2])
		if line[3] == ' ' {
			replies = append(replies, r)
			r = heard{}
		}
	}
}

// take does a step, and compares.
func (tr *trial) take(s *step) error {
	tr.handler.step = s
	before := len(tr.handler.messages)
	w := tr.machine.does(s)
	tr.handler.order.Add(1)
	begin := time.Now()
	replies, closed := tr.act(s)
	waited := time.Since(begin).Round(time.Second)
	synctest.Wait()
	if closed {
		<-tr.done
	}
	tr.handler.step = nil
	if last := len(replies) - 1; w.stopped && last >= 0 && replies[last].code == 421 {
		w.stopped, replies = false, replies[:last]
	}
	switch fault := compare(w.replies, replies); {
	case w.stopped:
		return fmt.Errorf("the server stops, and says %v", replies)
	case fault != "":
		return errors.New(fault)
	case closed != tr.machine.over:
		return fmt.Errorf("the connection is closed: %v, want %v", closed, tr.machine.over)
	case waited != w.after:
		return fmt.Errorf("the server waits for %v, want %v", waited, w.after)
	case len(tr.handler.faults) > 0:
		return errors.New(strings.Join(tr.handler.faults, "; "))
	case closed != tr.handler.ended:
		return fmt.Errorf("End was called: %v, want %v", tr.handler.ended, closed)
	case !closed && tr.handler.open != tr.machine.open():
		return fmt.Errorf("the handler has a transaction: %v, want %v", tr.handler.open, tr.machine.open())
	}
	if got, want := tr.handler.messages[before:], messages(w.message); !slices.Equal(got, want) {
		return fmt.Errorf("accepted %+v, want %+v", got, want)
	}
	if err := tr.checkFacts(&w, replies); err != nil {
		return err
	}
	return tr.checkKeywords(s, replies)
}

func messages(m *message) []message {
	if m == nil {
		return nil
	}
	return []message{*m}
}

// act does what the client does in a step.
func (tr *trial) act(s *step) (replies []heard, closed bool) {
	switch {
	case s.act == stops:
		tr.session.conn.stop()
		return tr.hear(instant)
	case s.say == "" && s.act == gone:
		return tr.leave(nil)
	case s.say == "": // silence
		return tr.hear(ages)
	case s.verb == "BDAT":
		return tr.content(s, s.say, "")
	}
	tr.say(s.say)
	replies, closed = tr.hear(instant)
	last := 0
	if len(replies) > 0 {
		last = replies[len(replies)-1].code
	}
	var more []heard
	switch {
	case last == 354:
		more, closed = tr.content(s, "", ".\r\n")
	case last == 334:
		more, closed = tr.exchange(s)
	case last == 220 && s.act == secures:
		if tr.secure() != nil {
			return replies, true
		}
		more, closed = tr.hear(instant)
	case last == 220 && s.act == spoils:
		tr.say(strings.Repeat("no handshake\r\n", 10))
		tr.near.SetReadDeadline(time.Now().Add(ages))
		_, err := io.Copy(io.Discard, tr.near) // the alert
		closed = !errors.Is(err, os.ErrDeadlineExceeded)
	}
	return append(replies, more...), closed
}

// content sends that of a step, between two other texts, or half of it.
func (tr *trial) content(s *step, before, behind string) (replies []heard, closed bool) {
	if s.act == nothing {
		tr.say(before + s.content + behind)
		return tr.hear(instant)
	}
	tr.say(before + s.content[:len(s.content)/2])
	if s.act == gone {
		replies, _ = tr.hear(instant)
		return tr.leave(replies)
	}
	return tr.hear(ages)
}

// exchange answers the challenges of a step. One that is silent or gone is so
// after its last answer but one.
func (tr *trial) exchange(s *step) (replies []heard, closed bool) {
	for i, answer := range s.answers {
		switch {
		case i == len(s.answers)-1 && s.act == gone:
			return tr.leave(replies)
		case i == len(s.answers)-1 && s.act == silent:
			more, closed := tr.hear(ages)
			return append(replies, more...), closed
		}
		tr.say(answer)
		more, closed := tr.hear(instant)
		if replies = append(replies, more...); closed || len(more) == 0 || more[len(more)-1].code != 334 {
			return replies, closed
		}
	}
	return replies, false
}

// leave closes the connection.
func (tr *trial) leave(replies []heard) ([]heard, bool) {
	tr.near.Close()
	tr.rw, tr.br = tr.near, bufio.NewReader(tr.near)
	return replies, true
}

func (tr *trial) secure() error {
	tr.near.SetReadDeadline(time.Time{})
	tc := tls.Client(tr.near, tr.client)
	if err := tc.Handshake(); err != nil {
		return err
	}
	tr.rw, tr.br = tc, bufio.NewReader(tc)
	return nil
}

// compare returns what is wrong with the replies, "" if nothing is.
func compare(want [][]int, got []heard) string {
	ok := len(want) == len(got)
	for i := 0; ok && i < len(got); i++ {
		ok = slices.Contains(want[i], got[i].code)
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("the server says %v, want %v", got, want)
}

// checkFacts expects one fact of each refusal.
func (tr *trial) checkFacts(w *want, replies []heard) error {
	var due []refusal
	switch {
	case w.lost:
		due = []refusal{{w.command, w.from, w.to, 421}}
	case w.refused() && !w.silently:
		at := slices.IndexFunc(replies, func(r heard) bool { return r.code >= 400 })
		due = []refusal{{w.command, w.from, w.to, replies[at].code}}
	}
	var got []refusal
	for _, f := range tr.facts.Take() {
		got = append(got, refusal{f.Command, f.From, strings.Join(f.To, " "), f.Reply.Code})
	}
	if !slices.Equal(got, due) {
		return fmt.Errorf("facts %+v, want %+v", got, due)
	}
	return nil
}

// checkKeywords: STARTTLS is offered in clear, and only there (RFC 3207 4.2); AUTH
// only under TLS; and HELO gets no keywords.
func (tr *trial) checkKeywords(s *step, replies []heard) error {
	if len(replies) != 1 || replies[0].code != 250 || s.verb != "EHLO" && s.verb != "HELO" {
		return nil
	}
	lines := replies[0].lines
	if offered := slices.Contains(lines, "STARTTLS"); offered != (s.verb == "EHLO" && !tr.machine.secure) {
		return fmt.Errorf("STARTTLS offered: %v", offered)
	}
	if offered := slices.Contains(lines, "AUTH PLAIN LOGIN"); offered != (s.verb == "EHLO" && tr.machine.secure) {
		return fmt.Errorf("AUTH offered: %v", offered)
	}
	if extended := slices.Contains(lines, "CHUNKING"); extended != (s.verb == "EHLO") {
		return fmt.Errorf("CHUNKING offered to %s: %v", s.verb, extended)
	}
	return nil
}

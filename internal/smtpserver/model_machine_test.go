package smtpserver

import (
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// This file is the reference: a server as RFC 5321, 3030, 3207, 4954 and 6531
// have it, with nothing in it but what decides the next reply. Where they leave
// a choice, the machine has docs/decisions.md.

// The limits of the server under test. Lines of content have lineOctets.
const (
	modelSize       = 100
	modelRecipients = 2

	modelCommandTime = 5 * time.Minute // RFC 5321 4.5.3.2.7
	modelContentTime = 3 * time.Minute // RFC 5321 4.5.3.2.5
)

// act is what the client or the network does besides saying something.
type act int

const (
	nothing   act = iota
	secures       // takes the handshake when it is told to
	spoils        // sends what is no handshake
	overtakes     // sends a command behind STARTTLS without waiting
	silent        // says no more than half of the content, or of a chunk
	gone          // closes there
	stops         // it is the server that does
)

// form is what is right or wrong about a command, or its content.
type form int

const (
	fine       form = iota
	malformed       // its arguments are
	unreadable      // the line can be no command
	foreign         // the line is of another protocol
	utf8            // an address, or the SMTPUTF8 parameter
	demanding       // REQUIRETLS
	large           // more than modelSize
	unknown         // a mechanism is
	endless         // a line of AUTH is longer than it may be
)

// step is one thing that a client does in one state, and what fails as it does.
type step struct {
	name    string
	verb    string // "" where the line has none
	form    form
	say     string   // without content
	content string   // behind 354, or that of the chunk
	last    bool     // of BDAT
	answers []string // of AUTH: what is said to each challenge
	act     act
	at      string     // the method of the handler that gives reply
	reply   mail.Reply // or panics, where that is zero and at is not ""
	unread  bool       // Content replies before it has read
}

// message is what a handler has accepted.
type message struct {
	from, content string
	recipients    int
	utf8, secret  bool
}

// refusal is a fact of a refused command.
type refusal struct {
	command, from, to string
	code              int
}

// want is what the reference says of a step.
type want struct {
	replies  [][]int // each is one of some codes
	message  *message
	silently bool          // what was refused leaves no fact
	stopped  bool          // behind the others comes 421, because the server stops
	lost     bool          // nobody hears the refusal: the client has gone
	after    time.Duration // how long the server waits before it says 421
	from, to string
	command  string // of the fact
}

// machine is the reference.
type machine struct {
	over    bool
	secure  bool
	greeted string // the verb
	known   bool   // who the client is
	tried   bool   // AUTH, upon which facts name no unknown verbs
	strict  bool   // TLS is required
	from    string // of the open transaction; "" when none is
	utf8    bool
	secret  bool // REQUIRETLS was given
	rcpts   int
	surplus int
	chunked bool // some of the message has come in chunks
	content string

	limits   limits
	counts   counts
	stopping bool
}

func (m *machine) open() bool { return m.from != "" }

// drop ends the transaction (RFC 5321 4.1.4, 4.1.1.5; RFC 3030 2).
func (m *machine) drop() {
	m.from, m.utf8, m.secret, m.rcpts, m.surplus, m.chunked, m.content = "", false, false, 0, 0, false, ""
}

// does returns what the client must hear of a step.
func (m *machine) does(s *step) want {
	m.tried = m.tried || s.verb == "AUTH"
	w := want{command: s.verb, from: m.from}
	if m.tried && !smtp.IsVerb(s.verb) {
		w.command = ""
	}
	between := m.chunked
	switch {
	case s.act == stops:
		m.stopping = true
	case s.act == gone && s.say == "":
		m.over, w.lost = true, m.chunked
		w.command = "BDAT"
	case s.act == silent && s.say == "":
		m.over, w.after = true, modelCommandTime
		w.code(421)
		w.silently = !m.chunked
		if m.chunked {
			w.command, w.after = "BDAT", modelContentTime
		}
	case s.form == foreign:
		m.over = true
		w.code(500, 554)
	case s.form == unreadable:
		w.code(500) // RFC 5321 4.2.4
	case m.chunked:
		m.between(s, &w)
	default:
		m.command(s, &w)
	}
	m.count(s, &w, between)
	if s.act == overtakes && !m.over {
		w.code(250) // there was no handshake that NOOP could overtake, or it was not to be feared
	}
	if m.stopping && !m.over && !m.open() { // a message may be ended (RFC 5321 3.8)
		m.over, w.stopped = true, true
	}
	return w
}

func (w *want) code(codes ...int) { w.replies = append(w.replies, codes) }

// refused reports whether one of the replies is a refusal.
func (w *want) refused() bool {
	return slices.ContainsFunc(w.replies, func(codes []int) bool { return codes[0] >= 400 })
}

// command does a command outside of chunks.
func (m *machine) command(s *step, w *want) {
	const early = " EHLO HELO STARTTLS NOOP RSET QUIT BDAT "
	if m.strict && !m.secure && !strings.Contains(early, " "+s.verb+" ") { // RFC 3207 4
		w.code(530)
		return
	}
	switch s.verb {
	case "EHLO", "HELO":
		m.hello(s, w)
	case "MAIL":
		m.mail(s, w)
	case "RCPT":
		m.rcpt(s, w)
	case "DATA":
		m.data(s, w)
	case "BDAT":
		m.bdat(s, w)
	case "STARTTLS":
		m.starttls(s, w)
	case "RSET": // RFC 5321 4.1.1.5
		if s.form == malformed {
			w.code(501)
		} else if m.ask(s, w, "RSET", 250) {
			m.drop()
		}
	case "QUIT": // RFC 5321 4.1.1.10
		if s.form == malformed {
			w.code(501)
			return
		}
		m.ask(s, w, "QUIT", 221)
		m.over = true
	case "NOOP":
		m.ask(s, w, "NOOP", 250)
	case "VRFY": // RFC 5321 3.5.3, 7.3; RFC 6531 3.7.4
		m.ask(s, w, "VRFY", 252, 250, 550)
	case "HELP":
		m.ask(s, w, "HELP", 214, 211)
	case "EXPN":
		m.ask(s, w, "EXPN", 502, 252)
	case "AUTH":
		m.auth(s, w)
	default:
		m.ask(s, w, s.verb, 500, 502)
	}
}

// ask reports whether the handler lets the command be. If not, it is its reply
// that the client hears.
func (m *machine) ask(s *step, w *want, method string, codes ...int) bool {
	switch {
	case s.at != method:
		w.code(codes...)
		return true
	case s.reply.IsZero(): // it panics
		m.over, w.silently = true, true
		w.code(421)
	case s.reply.Code == mail.NoReply:
		m.over = true
	default:
		m.over = s.reply.Code == 421
		w.code(s.reply.Code)
	}
	return false
}

// hello: an EHLO that is refused changes nothing (RFC 5321 4.1.4).
func (m *machine) hello(s *step, w *want) {
	if s.form == malformed {
		w.code(501)
	} else if m.ask(s, w, "Hello", 250) {
		m.drop()
		m.greeted = s.verb
	}
}

func (m *machine) mail(s *step, w *want) {
	if m.greeted == "" || m.open() {
		w.code(503)
		return
	}
	if m.counts.mails++; m.limits.mails > 0 && m.counts.mails > m.limits.mails {
		m.over = true
		w.code(421) // RFC 9422 4.1
		return
	}
	switch {
	case s.form == malformed:
		w.code(501, 553)
	case (s.form == utf8 || s.form == large) && m.greeted == "HELO":
		w.code(555) // RFC 5321 4.1.1.11
	case s.form == demanding && (!m.secure || m.greeted == "HELO"):
		w.code(555) // it is not offered there
	case s.form == large:
		w.from = modelSender
		w.code(552) // RFC 1870 6.1
	default:
		w.from = modelSender
		if m.ask(s, w, "Mail", 250) {
			m.from, m.utf8, m.secret = modelSender, s.form == utf8, s.form == demanding
		}
	}
}

func (m *machine) rcpt(s *step, w *want) {
	switch {
	case m.greeted == "" || !m.open():
		w.code(503)
	case s.form == malformed:
		w.code(501, 553)
	case s.form == utf8 && !m.utf8:
		w.code(550, 553) // RFC 6531 3.5
	case m.rcpts == modelRecipients:
		w.to = modelRecipient(s)
		m.surplus = min(m.surplus+1, modelRecipients+1)
		w.silently = m.surplus > 1 && m.surplus <= modelRecipients
		w.code(452) // RFC 5321 4.5.3.1.10
	default:
		w.to = modelRecipient(s)
		if m.ask(s, w, "Rcpt", 250) {
			m.rcpts++
		}
	}
}

const modelSender = "<joe@example.com>"

func modelRecipient(s *step) string {
	if s.form == utf8 {
		return "<jörg@example.net>"
	}
	return "<ann@example.net>"
}

func (m *machine) data(s *step, w *want) {
	switch {
	case m.greeted == "" || !m.open():
		w.code(503)
	case s.form == malformed:
		w.code(501)
	case m.rcpts == 0:
		w.code(503, 554) // RFC 5321 3.3
	case s.at == "Data" && (s.reply.Success() || s.reply.Intermediate()):
		w.code(451) // the handler makes no sense
	case m.ask(s, w, "Data", 354):
		w.command = "end of data"
		m.content = s.content
		m.end(s, w, true)
	}
}

// bdat does the first chunk. What is refused ends the transaction, and its
// content is no command (RFC 3030 2).
func (m *machine) bdat(s *step, w *want) {
	if s.form == malformed { // nobody knows where the next command is
		m.over = true
		w.code(501, 421)
		return
	}
	switch {
	case s.act == gone || s.act == silent:
		m.cut(s, w)
		return
	case m.strict && !m.secure:
		w.code(530)
	case m.greeted == "" || m.greeted == "EHLO" && !m.open() || !m.open():
		w.code(503)
	case m.greeted == "HELO":
		w.code(500, 502, 503)
	case m.rcpts == 0:
		w.code(503, 554)
	case s.at == "Data" && (s.reply.Success() || s.reply.Code == 334):
		w.code(451)
	case s.at == "Data":
		m.ask(s, w, "Data")
	default:
		m.chunk(s, w)
		return
	}
	m.drop()
}

// between does a command between two chunks. Nothing but the end of the message
// or of the session comes there, and NOOP (docs/decisions.md); an EHLO that is
// refused is no end (RFC 5321 4.1.4).
func (m *machine) between(s *step, w *want) {
	switch {
	case s.verb == "BDAT" && s.form == malformed:
		m.over = true
		w.code(501, 421)
	case s.verb == "BDAT":
		m.chunk(s, w)
	case s.verb == "NOOP":
		w.code(250)
	case s.form == malformed && s.verb != "DATA": // nothing changes by it
		w.code(501, 503)
	case s.verb == "RSET" || s.verb == "QUIT" || s.verb == "EHLO" || s.verb == "HELO":
		m.drop()
		w.from = ""
		switch { // the handler's Content learns it first
		case s.at == "Content" && s.reply.IsZero():
			m.ask(s, w, "Content")
		case s.at == "Content" && s.reply.Code == mail.NoReply:
			m.over = true
		default:
			m.command(s, w)
		}
	default:
		w.code(503) // RFC 3030 2
	}
}

func (m *machine) chunk(s *step, w *want) {
	if m.content += s.content; s.act == gone || s.act == silent {
		m.cut(s, w)
		return
	}
	m.end(s, w, s.last)
	if m.open() {
		m.chunked = true
		w.code(250)
	}
}

// cut is content that breaks off: 421 where somebody hears it (RFC 5321 3.8).
func (m *machine) cut(s *step, w *want) {
	m.over, w.lost = true, s.act == gone
	if s.act == silent {
		w.after = modelContentTime
		w.code(421)
	}
}

// end judges content. When it is the last of the message, or is refused, the
// transaction is over, whatever the reply (RFC 5321 4.1.1.4).
func (m *machine) end(s *step, w *want, last bool) {
	bare := strings.NewReplacer("\r\n", "").Replace(m.content)
	if !last {
		bare = strings.TrimSuffix(bare, "\r") // the LF may come
	}
	switch {
	case s.act == gone || s.act == silent:
		m.cut(s, w)
		return
	case s.at == "Content" && s.reply.Code >= 200 && !s.reply.Temporary() && !s.reply.Permanent():
		w.code(451)
	case s.at == "Content":
		m.ask(s, w, "Content")
	case len(m.content) > modelSize && strings.ContainsAny(bare, "\r\n\x00"):
		w.code(550, 552, 554)
	case len(m.content) > modelSize:
		w.code(552) // RFC 1870 6.3
	case strings.ContainsAny(bare, "\r\n\x00"):
		w.code(550, 554) // RFC 5321 2.3.8, RFC 5322 2.2
	case !last:
		return
	default:
		w.message = &message{from: m.from, content: m.content, recipients: m.rcpts, utf8: m.utf8, secret: m.secret}
		w.code(250)
	}
	m.drop()
}

// starttls: after the handshake nothing is known of the client (RFC 3207 4.2).
func (m *machine) starttls(s *step, w *want) {
	switch {
	case m.secure:
		w.code(503, 502)
	case s.act == overtakes:
		m.over = true
		w.code(554)
	case !m.ask(s, w, "STARTTLS", 220):
	case s.act == spoils:
		m.over = true
	default:
		m.drop()
		m.secure, m.greeted, m.known = true, "", false
	}
}

// auth: the mechanisms are PLAIN, with one response, and LOGIN, with two; they are
// offered under TLS (RFC 4954 4).
func (m *machine) auth(s *step, w *want) {
	switch {
	case m.greeted == "", m.open(), m.known:
		w.code(503)
	case !m.secure:
		w.code(538)
	case m.greeted == "HELO":
		w.code(500, 502, 503)
	case s.form == malformed && len(s.answers) == 0:
		w.code(501)
	case s.form == unknown:
		w.code(504)
	case m.ask(s, w, "Authenticate"):
		m.exchange(s, w)
	}
}

// exchange: each answer but the last brings another challenge (RFC 4954 4, 6).
func (m *machine) exchange(s *step, w *want) {
	w.replies = nil // ask has accepted with none
	for range s.answers {
		w.code(334)
	}
	switch {
	case s.act == gone: // there is nobody to refuse
		m.over = true
	case s.act == silent:
		m.over, w.silently, w.after = true, true, modelCommandTime
		w.code(421)
	case s.form == malformed:
		w.code(501)
	case s.form == endless:
		w.code(500)
	case s.at == "Next" && s.reply.Code >= 200 && !s.reply.Temporary() && !s.reply.Permanent():
		w.code(454)
	case m.ask(s, w, "Next", 235):
		m.known = true
	}
}

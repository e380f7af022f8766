package smtpserver

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// explaining is a session that tells why it refused; of whatever kind the
// session is.
type explaining struct {
	Session
	trail []mail.Decided
}

func (e *explaining) because(r mail.Reply, rule string) mail.Reply {
	if !r.IsZero() {
		e.trail = append(e.trail, mail.Decided{Rule: rule, Effect: r.String()})
	}
	return r
}

func (e *explaining) Mail(ctx context.Context, m smtp.Mail) mail.Reply {
	return e.because(e.Session.Mail(ctx, m), "at mail")
}

func (e *explaining) Rcpt(ctx context.Context, r smtp.Rcpt) mail.Reply {
	return e.because(e.Session.Rcpt(ctx, r), "at rcpt")
}

func (e *explaining) Content(ctx context.Context, c smtp.Content) mail.Reply {
	return e.because(e.Session.Content(ctx, c), "at data")
}

func (e *explaining) Trail() []mail.Decided {
	trail := e.trail
	e.trail = nil
	return trail
}

// TestTrailOfRefusals: the fact of a refusal has the decisions behind it, and
// no others; a refusal of the engine has none.
func TestTrailOfRefusals(t *testing.T) {
	var mu sync.Mutex
	var got []string
	o := Options{Record: func(f mail.Fact) {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range f.Trail {
			got = append(got, f.Command+": "+d.String())
		}
		if len(f.Trail) == 0 {
			got = append(got, f.Command+": no trail")
		}
	}}
	h := &scripted{replies: map[string]mail.Reply{
		"nobody@x.example": mail.NewReply(550, "5.1.1", "Nobody"),
	}, content: func(context.Context, smtp.Content) mail.Reply { return mail.NewReply(554, "5.7.1", "Not this") }}
	c := start(t, o, HandlerFunc(func(ctx context.Context, origin mail.Origin) (Session, mail.Reply) {
		s, r := h.Begin(ctx, origin)
		return &explaining{Session: s}, r
	})).dial()
	for _, x := range [][2]string{
		{"", "220"}, {"HELO client.test", "250"}, {"RCPT TO:<a@x.example>", "503"}, {"MAIL FROM:<joe@example.com>", "250"},
		{"RCPT TO:<nobody@x.example>", "550 5.1.1 Nobody"}, {"RCPT TO:<a@", "501"}, {"RCPT TO:<a@x.example>", "250"},
		{"DATA", "354"}, {".", "554 5.7.1 Not this"}, {"QUIT", "221"},
	} {
		if x[0] != "" {
			c.send(x[0] + "\r\n")
		}
		if line, err := c.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, x[1]) {
			t.Fatalf("to %q the server says %q, %v; want %s", x[0], line, err, x[1])
		}
	}
	c.expectEnd()
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{
		"RCPT: no trail", "RCPT: at rcpt: 550 5.1.1 Nobody", "RCPT: no trail", "end of data: at data: 554 5.7.1 Not this",
	}, got); diff != "" {
		t.Error(diff)
	}
}

// TestTrailAtConnect: a client that is turned away at the door is so with the
// reason, and its session ends as any other.
func TestTrailAtConnect(t *testing.T) {
	facts := make(chan mail.Fact, 1)
	h := &scripted{replies: map[string]mail.Reply{"Begin": mail.NewReply(554, "5.7.1", "Not you")}}
	c := start(t, Options{Record: func(f mail.Fact) { facts <- f }}, HandlerFunc(func(ctx context.Context, o mail.Origin) (Session, mail.Reply) {
		s, r := h.Begin(ctx, o)
		e := &explaining{Session: s}
		return e, e.because(r, "at connect")
	})).dial()
	c.play("S: 554 5.7.1 Not you\n")
	c.expectEnd()
	f := <-facts
	if want := []mail.Decided{{Rule: "at connect", Effect: "554 5.7.1 Not you"}}; !slices.Equal(f.Trail, want) || f.Command != "connect" {
		t.Errorf("%s: %v", f.Command, f.Trail)
	}
}

// greeter has words for the reply to EHLO.
type greeter struct {
	Session
	words string
}

func (g greeter) Greeting() string { return g.words }

// TestGreetingOfTheHandler: its words stand behind the server's name, one line
// whatever is in them, and the extensions stay the engine's.
func TestGreetingOfTheHandler(t *testing.T) {
	for words, want := range map[string]string{
		"":                  "mx.test greets client.test",
		"Hello client.test": "mx.test Hello client.test",
		"Hi\r\n250-XFORGED\r\n250 gr\u00fc\u00df": "mx.test Hi??250-XFORGED??250 gr??",
		strings.Repeat("long ", 1000):             "mx.test " + strings.Repeat("long ", maxGreeting/5),
	} {
		h := &scripted{}
		c := start(t, Options{}, HandlerFunc(func(context.Context, mail.Origin) (Session, mail.Reply) {
			return greeter{h, words}, mail.Reply{}
		})).dial()
		c.expect("220 mx.test ESMTP Postern")
		c.send("EHLO client.test\r\n")
		c.expect("250-"+want, "250-PIPELINING")
	}
}

// telling is a session that tells of refusals at RCPT itself.
type telling struct {
	Session
	told bool
}

func (s *telling) Rcpt(ctx context.Context, r smtp.Rcpt) mail.Reply {
	s.told = true
	return mail.NewReply(550, "5.7.1", "no")
}

func (s *telling) Recorded() bool {
	told := s.told
	s.told = false
	return told
}

// A refusal that the session has told of has no fact; others have theirs.
func TestRefusalThatIsRecorded(t *testing.T) {
	var mu sync.Mutex
	var got []string
	o := Options{Record: func(f mail.Fact) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, f.Command)
	}}
	h := HandlerFunc(func(ctx context.Context, o mail.Origin) (Session, mail.Reply) {
		s, r := (&scripted{}).Begin(ctx, o)
		return &telling{Session: s}, r
	})
	c := start(t, o, h).dial().open()
	c.play(`
		C: MAIL FROM:<a@a.example>
		S: 250 2.1.0 Ok
		C: RCPT TO:<b@b.example>
		S: 550 5.7.1 no
		C: NONSENSE
		S: 500 5.5.1 Command not recognized
	`)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, []string{"NONSENSE"}) {
		t.Errorf("there are facts of %q", got)
	}
}

// Package dialogue holds conversations between the real program and a client
// or a next server, each a file in testdata. They are written from the RFCs,
// not from the program: the comment at the head of each cites the rule that it
// shows, and docs/rfc.md lists them by rule.
//
// A file has sections:
//
//	-- client [LISTENER]    what a client says, and the server answers
//	-- submit               a message for the server: MAIL and RCPT, an empty
//	                        line, and content; all of it must be taken
//	-- server [HOST]        what a next server says, and the program, which is
//	                        its client, says to it. The sections of a host are
//	                        its connections, in their order
//	-- journal              facts about the messages and refusals in the client's
//	                        sections
//
// The listeners are smtp, which trusts its clients, stranger, which does not,
// tls, which offers STARTTLS, required, which demands it, implicit, which begins
// with TLS, certified, which demands a client certificate that nobody has, plain,
// which has no extension that can be off, silent, which has STARTTLS and no REQUIRETLS, small, whose limits are: 1 KiB a
// message, 2 recipients, 3 messages, 5 errors; it refuses bare newlines; and login,
// which offers AUTH in clear to joe, whose password is secret. The hosts are
// next and second, the servers of next.example in the order of their MX
// records, and back, that of back.example: each dialogue has domains of its
// own in the place of these.
//
// A conversation has a line for each that is said: "C: " by the client, "S: "
// by the server. In what the program says, "..." stands for any text; a line
// that is "..." for any number of lines, "... without WORD" for lines without a
// word. What stands in a row is sent as one piece. Then there are:
//
//	C= "text", S= "text"    octets, as a string of Go
//	TLS                     the handshake
//	CLOSED                  the program closes the connection, saying no more
//	NEVER                   the only line of a host that must not be asked
//
// The connection is closed after the last line.
//
// The journal is lines as well, each a fact that must be there, in any order:
// its reason, who it is to, the command, the reply, and in parentheses its
// text. With "without " before it it must not be there when the others are.
package dialogue

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// fewest is how many dialogues there have to be: a pattern that finds too few
// would make the test pass.
const fewest = 150

// TestMain lets many dialogues go on at once: they wait, and compute nothing.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "20"); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}

func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	mailtest.Must(t, err)
	if len(files) < fewest {
		t.Fatalf("%d dialogues found, there must be %d", len(files), fewest)
	}
	var dialogues []*dialogue
	for _, file := range files {
		d, err := readDialogue(file)
		if err != nil {
			t.Fatalf("%s:%v", file, err)
		}
		dialogues = append(dialogues, d)
	}
	w := newWorld(t, dialogues)
	t.Run("all", func(t *testing.T) {
		for n, d := range dialogues {
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				(&run{world: w, dialogue: d, number: n, t: t, ids: map[mail.ID]bool{}, clients: map[string]bool{}}).all()
			})
		}
	})
}

// run is one dialogue under way.
type run struct {
	*world
	*dialogue
	number int
	t      *testing.T
	// ids are the messages that were accepted, clients the addresses from
	// which the client's sections came.
	ids     map[mail.ID]bool
	clients map[string]bool
}

func (r *run) all() {
	var servers sync.WaitGroup
	for host := range hosts {
		if sections := r.of("server", host); len(sections) > 0 {
			r.serve(host, sections, &servers)
		}
	}
	for _, s := range r.sections {
		switch s.kind {
		case "client":
			r.talk(s)
		case "submit":
			r.submit(s)
		}
	}
	servers.Wait()
	for _, s := range r.of("journal", "") {
		r.journal(s)
	}
}

// serve plays the sections of a host beside the others.
func (r *run) serve(host string, sections []section, running *sync.WaitGroup) {
	l, err := net.Listen("tcp", r.address(r.number, host))
	mailtest.Must(r.t, err)
	if sections[0].never() {
		r.t.Cleanup(func() { r.refute(l, sections[0]) })
		return
	}
	running.Go(func() {
		defer l.Close()
		for _, s := range sections {
			if err := r.accept(l, s); err != nil {
				r.t.Errorf("%s.txt:%v", r.name, err)
			}
		}
	})
}

// never reports whether the section says that no connection comes.
func (s section) never() bool { return len(s.lines) == 1 && s.lines[0].text == "NEVER" }

// refute wants no connection to have come. Connections are accepted in their
// order: if there was one, it is accepted before ours.
func (r *run) refute(l net.Listener, s section) {
	defer l.Close()
	ours, err := net.DialTimeout("tcp", l.Addr().String(), patience)
	mailtest.Must(r.t, err)
	defer ours.Close()
	first, err := l.Accept()
	mailtest.Must(r.t, err)
	defer first.Close()
	if first.RemoteAddr().String() != ours.LocalAddr().String() {
		r.t.Errorf("%s.txt:%d: there was a connection", r.name, s.lines[0].number)
	}
}

func (r *run) accept(l net.Listener, s section) error {
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("%d: %w", s.lines[0].number-1, err)
	}
	return newPlayer('S', conn, r.tls).play(s)
}

var accepted = regexp.MustCompile(`accepted as (\w+)`)

// talk plays the client.
func (r *run) talk(s section) {
	conn := r.dial(r.t, s.where)
	r.clients[conn.LocalAddr().String()] = true
	p := newPlayer('C', conn, &tls.Config{InsecureSkipVerify: true}) // a throw-away certificate
	if err := p.play(s); err != nil {
		r.t.Errorf("%s.txt:%v", r.name, err)
	}
	for _, text := range p.heard {
		if id := accepted.FindStringSubmatch(text); id != nil {
			r.ids[mail.ID(id[1])] = true
		}
	}
}

// submit plays a client whose message is taken.
func (r *run) submit(s section) {
	full := section{where: s.where}
	add := func(n int, texts ...string) {
		for _, text := range texts {
			full.lines = append(full.lines, line{n, text})
		}
	}
	first, inContent := s.lines[0].number, false
	add(first, "S: 220 ...", "C: EHLO client.example", "...", "S: 250 ...")
	for _, l := range s.lines {
		switch {
		case inContent:
			add(l.number, "C: "+l.text)
		case l.text == "":
			inContent = true
			add(l.number, "C: DATA", "S: 354 ...")
		default:
			add(l.number, "C: "+l.text, "S: 250 ...")
		}
	}
	add(first, "C: .", "S: 250 ... accepted as ...", "C: QUIT", "S: 221 ...", "CLOSED")
	r.talk(full)
}

// journal waits until the facts of a section are there.
func (r *run) journal(s section) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	var told []string
	err := harness.Until(ctx, "the journal has it all", func() (bool, error) {
		facts, err := harness.ReadJournal(r.postern.Journal())
		told = r.story(facts)
		return len(missing(s, told)) == 0, err
	})
	if err != nil {
		r.t.Errorf("%s.txt: %v", r.name, errors.Join(append(missing(s, told), err)...))
	}
	for _, l := range s.lines {
		pattern, is := strings.CutPrefix(l.text, "without ")
		if is && tells(told, pattern) {
			r.t.Errorf("%s.txt:%d: %s is in the journal:\n%s", r.name, l.number, pattern, strings.Join(told, "\n"))
		}
	}
	if r.t.Failed() {
		r.t.Logf("the journal:\n%s", strings.Join(told, "\n"))
	}
}

// missing returns an error for each fact of a section that is not told.
func missing(s section, told []string) []error {
	var errs []error
	for _, l := range s.lines {
		if l.text != "" && l.text[0] != '#' && !strings.HasPrefix(l.text, "without ") && !tells(told, l.text) {
			errs = append(errs, fmt.Errorf("%d: %s is not in the journal", l.number, l.text))
		}
	}
	return errs
}

func tells(told []string, pattern string) bool {
	for _, text := range told {
		if matches(pattern, text) {
			return true
		}
	}
	return false
}

// story tells the facts of a dialogue, each in a line.
func (r *run) story(facts []mail.Fact) []string {
	var told []string
	for i := range facts {
		f := &facts[i]
		refusedHere := f.Message == "" && f.Origin != nil && r.clients[f.Origin.Client.String()]
		if r.ids[f.Message] || r.ids[f.About] || refusedHere {
			told = append(told, tell(f))
		}
	}
	return told
}

// tell returns a fact as a dialogue names it.
func tell(f *mail.Fact) string {
	words := []string{string(f.Reason)}
	if len(f.To) > 0 {
		words = append(words, "to "+strings.Join(f.To, " "))
	}
	if f.Command != "" {
		words = append(words, f.Command)
	}
	if f.Reply != nil {
		words = append(words, f.Reply.String())
	}
	if f.Text != "" {
		words = append(words, "("+f.Text+")")
	}
	return strings.Join(words, " ")
}

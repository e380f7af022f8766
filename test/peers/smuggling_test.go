package peers

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

// endings are what some servers take for the end of data. Only CRLF.CRLF is.
var endings = []string{
	"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\n\x00.\r\n",
	"\r\n.\x00\r\n", "\r\x00\n.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\n\n.\n\n", "\n\r.\n\r",
}

// attack is a message with another one inside, behind an ending: for a server
// that takes that for one, commands of the client.
type attack struct {
	name, ending string
	front        string // what comes before it
	hello        string // the client's name, if it is not its usual one
	chunks       bool   // by BDAT
	pause        bool   // in the midst of the ending: it comes in two packets
}

const smuggler = "evil@example.org"

// attacks are all endings in all places: where the header should begin, in it,
// behind it, in the body, and where a reader of 4 KiB has to read on.
func attacks() (all []attack) {
	const header = "From: joe@example.org\r\nSubject: one\r\n"
	places := map[string]string{
		"at the begin": "", "in the header": header + "X-Field: x", "behind the header": header,
		"in the body": header + "\r\nbody", "at 4 KiB": header + "\r\n" + strings.Repeat("x", 4095-len(header)-2),
	}
	for place, front := range places {
		for _, ending := range endings {
			a := attack{name: fmt.Sprintf("%q %s", ending, place), ending: ending, front: front}
			all = append(all, a)
			a.pause = true
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b attack) int { return strings.Compare(a.name, b.name) })
	return all
}

// content is the message as it should be taken: as one.
func (a attack) content() string {
	return a.front + a.ending +
		"MAIL FROM:<" + smuggler + ">\r\nRCPT TO:<smuggled@example.net>\r\nDATA\r\nSubject: two\r\n\r\nthe last line\r\n"
}

// bare reports whether a strict server refuses it.
func (a attack) bare() bool {
	return strings.ContainsAny(strings.ReplaceAll(a.content(), "\r\n", ""), "\r\n\x00")
}

// to is the recipient of attack i, and of no other.
func to(i int) string { return fmt.Sprintf("r%d@example.net", i) }

// smuggle sends attack i, and returns the reply to the message. Whatever the
// server takes it for, it is then given time to say all that it has to.
func (a attack) smuggle(ctx context.Context, addr string, i int) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	br := bufio.NewReader(conn)
	hello := cmp.Or(a.hello, "client.example.org")
	envelope := []string{"", "EHLO " + hello, "MAIL FROM:<joe@example.org>", "RCPT TO:<" + to(i) + ">"}
	content, end := a.content(), ".\r\n"
	if a.chunks {
		end = ""
	} else {
		envelope = append(envelope, "DATA")
	}
	for _, command := range envelope {
		if command != "" {
			fmt.Fprintf(conn, "%s\r\n", command)
		}
		if reply, err := readReply(br); err != nil || reply[0] > '3' {
			return reply, fmt.Errorf("%q was answered %q, %w", command, reply, err)
		}
	}
	cut := len(a.front) + len(a.ending)/2
	first, second := content[:cut], content[cut:]+end+"QUIT\r\n"
	if a.chunks {
		first = fmt.Sprintf("BDAT %d\r\n%s", cut, first)
		second = fmt.Sprintf("BDAT %d LAST\r\n%s", len(content)-cut, second)
	}
	fmt.Fprint(conn, first)
	if a.chunks { // its own reply tells that it has come
		if reply, err := readReply(br); err != nil || reply[0] != '2' {
			return reply, err
		}
	} else if a.pause {
		time.Sleep(2 * time.Millisecond) // else both would come in one packet
	}
	fmt.Fprint(conn, second)
	reply, err := readReply(br)
	for last := err; last == nil; { // what else it has to say
		_, last = readReply(br)
	}
	return reply, err
}

// readReply returns the last line of a reply.
func readReply(br *bufio.Reader) (string, error) {
	for {
		line, err := br.ReadString('\n')
		if err != nil || len(line) > 3 && line[3] != '-' {
			return strings.TrimRight(line, "\r\n"), err
		}
	}
}

// taken is what has come to the end of the line, by recipient.
type taken struct {
	mu       sync.Mutex
	messages map[string][]string
	from     map[string]bool
}

func (k *taken) take(a *harness.Arrival) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.messages == nil {
		k.messages, k.from = map[string][]string{}, map[string]bool{}
	}
	k.from[a.From] = true
	for _, to := range a.To {
		k.messages[to] = append(k.messages[to], string(a.Content))
	}
	return ""
}

// forget forgets all.
func (k *taken) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.messages, k.from = nil, nil
}

// of returns what came for a recipient.
func (k *taken) of(to string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.messages[to])
}

// smuggled reports whether the message within has come as one of its own.
func (k *taken) smuggled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.from[smuggler]
}

// victims are Postfixes behind Postern: as Debian has it, and one to which
// Postern cannot send in chunks.
var victims = map[string]string{
	"Debian's": "",
	"by DATA":  "smtpd_discard_ehlo_keywords = chunking\n",
}

// deceiving returns the endings that deceive a server which passes all to k.
func (k *taken) deceiving(ctx context.Context, t *testing.T, server harness.Relay) (deceived []string) {
	t.Helper()
	for i, ending := range endings {
		k.forget()
		a := attack{ending: ending, front: "Subject: one\r\n\r\nbody"}
		if reply, err := a.smuggle(ctx, server.Addr(), i); err != nil || reply[0] != '2' {
			t.Fatalf("%q: %q, %v", ending, reply, err)
		}
		if err := harness.UntilEmpty(ctx, server); err != nil {
			t.Fatal(err)
		}
		if k.smuggled() {
			deceived = append(deceived, ending)
		}
	}
	return deceived
}

// TestVictimIsDeceived: an attack that goes straight to Debian's Postfix gets
// through. Otherwise the next test would show nothing.
func TestVictimIsDeceived(t *testing.T) {
	ctx := bounded(t)
	var k taken
	victim := startPostfixWith(ctx, t, "victim", startSink(t, k.take).Addr(), "")
	deceived := k.deceiving(ctx, t, victim)
	t.Logf("deceived by %q", deceived)
	for _, ending := range []string{"\n.\n", "\n.\r\n", "\r\n.\n"} {
		if !slices.Contains(deceived, ending) {
			t.Errorf("not deceived by %q", ending)
		}
	}
}

// TestReferencePeer holds Postern to a Postfix that was told to end data by
// CRLF.CRLF only, for all clients: both see one message in each attack, with the
// same text.
func TestReferencePeer(t *testing.T) {
	ctx := bounded(t)
	var reference, ours taken
	postfix := startPostfixWith(ctx, t, "reference", startSink(t, reference.take).Addr(),
		"smtpd_forbid_bare_newline = normalize\nsmtpd_forbid_bare_newline_exclusions =\n")
	postern := startPostern(ctx, t, startSink(t, ours.take).Addr())
	for i, ending := range endings {
		a := attack{ending: ending, front: "Subject: one\r\n\r\nbody"}
		for _, s := range []harness.Relay{postfix, postern} {
			if reply, err := a.smuggle(ctx, s.Addr(), i); err != nil || reply[0] != '2' {
				t.Fatalf("%q: %q, %v", ending, reply, err)
			}
		}
	}
	for _, s := range []harness.Relay{postfix, postern} {
		if err := harness.UntilEmpty(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	for i, ending := range endings {
		theirs, mine := texts(reference.of(to(i))), texts(ours.of(to(i)))
		if len(mine) != 1 || !slices.Equal(theirs, mine) {
			t.Errorf("%q: Postfix makes %q of it, Postern %q", ending, theirs, mine)
		}
	}
	if reference.smuggled() || ours.smuggled() {
		t.Errorf("deceived: Postfix %v, Postern %v", reference.smuggled(), ours.smuggled())
	}
}

// texts are the bodies of messages without what servers make each in their own
// way of bare newlines and the dots between them: Postfix puts a blank for a CR,
// and lets NUL through.
func texts(messages []string) (all []string) {
	for _, m := range messages {
		_, body, _ := strings.Cut(m, "\r\n\r\n")
		all = append(all, strings.NewReplacer("\r", "", "\n", "", " ", "", ".", "", "\x00", "").Replace(body))
	}
	return all
}

// TestVictimBehindPostern: it gets one message of each attack, whole, or none.
func TestVictimBehindPostern(t *testing.T) {
	ctx := bounded(t)
	binary := buildPostern(ctx, t)
	for name, settings := range victims {
		t.Run(name, func(t *testing.T) {
			var k taken
			victim := startPostfixWith(ctx, t, "victim", startSink(t, k.take).Addr(), settings)
			port, err := harness.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			strict := harness.Loopback(port)
			postern := startBuilt(ctx, t, binary, victim.Addr(), fmt.Sprintf(`
[[listener]]
name = "strict"
address = %q
trust = ["127.0.0.0/8"]
bare_newline = "refuse"
`, strict))
			want := map[string]attack{}
			for i, a := range attacksTwice() {
				a.run(ctx, t, i, postern.Addr(), strict, want)
			}
			for _, r := range []harness.Relay{postern, victim} {
				if err := harness.UntilEmpty(ctx, r); err != nil {
					t.Error(err)
				}
			}
			k.check(t, want)
		})
	}
}

// attacksTwice are all attacks by DATA and by BDAT; there with CRLF.CRLF, too,
// which means nothing in a chunk. And one that comes with the envelope.
func attacksTwice() []attack {
	all := attacks()
	for _, a := range slices.Clone(all) {
		if a.chunks = true; !a.pause {
			all = append(all, a)
		}
	}
	const front = "Subject: one\r\n\r\nbody"
	return append(all,
		attack{name: "CRLF.CRLF in chunks", ending: "\r\n.\r\n", front: front, chunks: true},
		attack{name: "a name that goes into the header", ending: "\r\n", front: front, hello: "a\r.\r\x00MAIL FROM:<" + smuggler + ">\r"})
}

// run sends an attack to the listener that repairs, and to the strict one, and
// puts down what must come of it.
func (a attack) run(ctx context.Context, t *testing.T, i int, repairing, strict string, want map[string]attack) {
	t.Helper()
	if reply, err := a.smuggle(ctx, repairing, 2*i); err != nil || !strings.HasPrefix(reply, "250 ") {
		t.Errorf("%s: %q, %v; want 250", a.name, reply, err)
	}
	want[to(2*i)] = a
	reply, err := a.smuggle(ctx, strict, 2*i+1)
	switch {
	case a.bare() && !strings.HasPrefix(reply, "550 5.6.0 "):
		t.Errorf("%s: %q, %v; want 550 5.6.0", a.name, reply, err)
	case !a.bare() && !strings.HasPrefix(reply, "250 "):
		t.Errorf("%s: %q, %v; want 250", a.name, reply, err)
	case !a.bare():
		want[to(2*i+1)] = a
	}
}

// check expects each attack once, whole, and nothing else.
func (k *taken) check(t *testing.T, want map[string]attack) {
	t.Helper()
	for to, a := range want {
		came := k.of(to)
		if len(came) != 1 || !strings.HasSuffix(came[0], "the last line\r\n") || !strings.Contains(came[0], smuggler) {
			t.Errorf("%s to %s came as %.300q", a.name, to, came)
		}
	}
	if k.smuggled() || len(k.messages) != len(want) {
		t.Errorf("smuggled: %v; mail for %d recipients, want %d", k.smuggled(), len(k.messages), len(want))
	}
	t.Logf("%d attacks, each came as one message", len(want))
}

package peers

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// control puts a third Postfix into Postern's place: it tells a fault of
// Postern from one of the test or of a peer.
var control = flag.Bool("control", false, "test Postfix in Postern's place")

// TestBetweenPostfixes sends 500 messages from Postfix through Postern to
// Postfix. Each must arrive octet for octet, once for each recipient, and
// nothing may be left behind.
func TestBetweenPostfixes(t *testing.T) {
	ctx := bounded(t)
	messages := corpus(500)
	arrivals := expect(messages)
	sink := startSink(t, arrivals.take)
	receiver := startPostfix(ctx, t, "receiver", sink.Addr())
	var middle harness.Relay
	if *control {
		middle = startPostfix(ctx, t, "control", receiver.Addr())
	} else {
		middle = startPostern(ctx, t, receiver.Addr())
	}
	sender := startPostfix(ctx, t, "sender", middle.Addr())

	submit(ctx, t, sender.Addr(), messages)
	if err := arrivals.wait(ctx); err != nil {
		t.Error(err)
	}
	for name, relay := range map[string]harness.Relay{"sender": sender, "middle": middle, "receiver": receiver} {
		if err := harness.UntilEmpty(ctx, relay); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	arrivals.report(t)
}

// submit sends messages to a relay, in eight sessions.
func submit(ctx context.Context, t *testing.T, addr string, messages []*harness.Message) {
	t.Helper()
	var mu sync.Mutex
	source := harness.Source{Addr: addr, Sessions: 8, Keep: true, Next: func() *harness.Message {
		mu.Lock()
		defer mu.Unlock()
		if len(messages) == 0 {
			return nil
		}
		m := messages[0]
		messages = messages[1:]
		return m
	}}
	if err := source.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// corpus returns n messages: the special ones, some that are large, and for
// the rest texts of 1 KiB to 64 KiB, most of them small.
func corpus(n int) []*harness.Message {
	random := rand.New(rand.NewPCG(1, 2))
	messages := special()
	for _, size := range []int{10e6, 10e6, 10e6, 5e6, 5e6, 2e6, 2e6, 2e6, 1e6, 1e6, 1e6, 1e6} {
		messages = append(messages, plain(len(messages), randomText(random, size)))
	}
	for len(messages) < n {
		size := 1 << (10 + min(random.IntN(7), random.IntN(7)))
		messages = append(messages, plain(len(messages), randomText(random, size+random.IntN(size))))
	}
	return messages
}

// specialBodies are bodies with what relays are known to change.
func specialBodies() []string {
	return []string{
		"", // a header alone
		"\r\n",
		".\r\n",
		"..\r\n",
		".\r\n..\r\n...\r\n. \r\n.x\r\n",
		"ends with empty lines\r\n\r\n\r\n\r\n",
		"From the start of a line\r\n>From the next\r\n",
		"trailing space \r\n\t\r\n \r\n",
		"controls \x01\x07\x08\x0b\x0c\x1a\x1b\x7f end\r\n",
		"8 bit, no charset: \x80\x81\xa0\xfe\xff\r\n",
		"UTF-8: Grüße, 你好, 😀\r\n",
		strings.Repeat("x", 998) + "\r\n" + strings.Repeat("y", 999) + "\r\n",
		strings.Repeat("long ", 40_000) + "\r\n",
		strings.Repeat("."+strings.Repeat("z", 1022)+"\r\n", 100),
		strings.Repeat(".\r\n", 20_000),
		strings.Repeat("\r\n", 20_000),
	}
}

// special returns messages with these, and with special headers and envelopes.
func special() []*harness.Message {
	var messages []*harness.Message
	for i, body := range specialBodies() {
		messages = append(messages, plain(i, body))
	}
	messages = append(messages, headers(len(messages)), crowd(len(messages)+1), crowd(len(messages)+2))
	for range 10 {
		messages = append(messages, international(len(messages)))
	}
	return messages
}

func plain(i int, body string) *harness.Message {
	id, from, to := fmt.Sprintf("plain-%d", i), "sender@example.org", fmt.Sprintf("r%d@d%d.example.net", i, i%7)
	return &harness.Message{ID: id, From: from, To: []string{to}, Content: append(harness.Header(id, from, to), body...)}
}

// headers is a message whose header nobody should tidy up.
func headers(i int) *harness.Message {
	m := plain(i, "body\r\n")
	m.Content = append([]byte("X-Long: "+strings.Repeat("a", 2000)+"\r\n"+
		"X-Folded: one\r\n\ttwo\r\n   three \r\n"+
		"x-case:no space\r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\n"+
		"X-Raw: \xfcber\r\nTo: undisclosed recipients:;\r\nCc: A. B <a@b>, \"c d\"@e\r\n"), m.Content...)
	return m
}

// crowd is a message to 100 recipients in 5 domains, from the null sender.
func crowd(i int) *harness.Message {
	m := plain(i, "to many\r\n")
	m.From, m.To = "", nil
	for n := range 100 {
		m.To = append(m.To, fmt.Sprintf("crowd-%d@d%d.example.net", n, n%5))
	}
	return m
}

// international is a message with addresses and a header in UTF-8.
func international(i int) *harness.Message {
	from, to := "absender-ü@grüße.example", fmt.Sprintf("收件人%d@例え.example", i)
	id := fmt.Sprintf("utf8-%d", i)
	content := append([]byte("Subject: Grüße 😀\r\n"), harness.Header(id, from, to)...)
	return &harness.Message{ID: id, From: from, To: []string{to, "ascii@example.net"}, UTF8: true,
		Content: append(content, "Bis später\r\n"...)}
}

// randomText returns about n octets of lines, some long, some with a dot in
// front, of octets of every value except CR and LF.
func randomText(random *rand.Rand, n int) string {
	var b strings.Builder
	b.Grow(n + 400)
	for b.Len() < n {
		length := random.IntN(80)
		if random.IntN(50) == 0 {
			length = random.IntN(2000)
		}
		if random.IntN(10) == 0 {
			b.WriteByte('.')
		}
		for range length {
			c := byte(random.Uint32())
			if c == 0 || c == '\r' || c == '\n' {
				c = ' '
			}
			b.WriteByte(c)
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// arrivals compares what comes with what is due.
type arrivals struct {
	mu     sync.Mutex
	sent   map[string]*harness.Message
	due    map[string]bool // copies still to come, by id and recipient
	faults []error
	// sevenBit says that 8-bit messages must come in 7-bit form. They are kept
	// in converted, with what was sent.
	sevenBit  bool
	converted []pair
}

func expect(messages []*harness.Message) *arrivals {
	a := &arrivals{sent: map[string]*harness.Message{}, due: map[string]bool{}}
	for _, m := range messages {
		a.sent[m.ID] = m
		for _, to := range m.To {
			a.due[m.ID+" "+to] = true
		}
	}
	return a
}

func (a *arrivals) take(arrival *harness.Arrival) string {
	id := harness.IDOf(arrival.Content)
	fields, rest := harness.CutReceived(arrival.Content)
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.sent[id]
	if m == nil {
		a.faults = append(a.faults, fmt.Errorf("never sent: from <%s> to %v: %.500q", arrival.From, arrival.To, arrival.Content))
		return ""
	}
	if a.sevenBit && !ascii(m.Content) && ascii(rest) {
		a.converted = append(a.converted, pair{ID: id, Want: m.Content, Got: bytes.Clone(rest)})
	} else if !bytes.Equal(rest, m.Content) {
		a.faults = append(a.faults, fmt.Errorf("%s was changed: %s", id, harness.Difference(rest, m.Content)))
	}
	if fields != 3 {
		a.faults = append(a.faults, fmt.Errorf("%s has %d Received fields on top, want one of each relay", id, fields))
	}
	if arrival.From != m.From {
		a.faults = append(a.faults, fmt.Errorf("%s came from <%s>, want <%s>", id, arrival.From, m.From))
	}
	for _, to := range arrival.To {
		key := id + " " + to
		if !a.due[key] {
			a.faults = append(a.faults, fmt.Errorf("%s: not due, or not any more", key))
		}
		delete(a.due, key)
	}
	return ""
}

// report fails the test for what was wrong.
func (a *arrivals) report(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, fault := range a.faults {
		if i == 20 {
			t.Errorf("and %d more faults", len(a.faults)-i)
			break
		}
		t.Error(fault)
	}
}

func ascii(content []byte) bool {
	return !slices.ContainsFunc(content, func(c byte) bool { return c >= 0x80 })
}

// wait waits until every copy has come, or one that is wrong.
func (a *arrivals) wait(ctx context.Context) error {
	err := harness.Until(ctx, "every message has arrived", func() (bool, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.due) == 0 || len(a.faults) > 0, nil
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range a.due {
		err = errors.Join(err, fmt.Errorf("%s is missing", key))
	}
	return err
}

package intake

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
	"postern/internal/smtp"
	"postern/internal/smtpserver"
)

var (
	_ smtpserver.Session   = (*Session)(nil)
	_ smtpserver.Explainer = (*Session)(nil)
	_ smtpserver.Greeter   = (*Session)(nil)
)

// dialogueOfTest is what a client says, and the begin of what it must hear.
const dialogueOfTest = `
220
EHLO c.test > 250-gate.example Welcome c.test
MAIL FROM:<S1@axway.example> > 250
RCPT TO:<dan@yahoo.example> > 550 5.7.1 No mail to dan@yahoo.example
RCPT TO:<marked@x.example> > 250
RCPT TO:<ann@x.example> > 250
DATA > 354
LARGE winner > 250 2.0.0 Ok: accepted as
MAIL FROM:<a@b.example> > 250
RCPT TO:<y@small.example> > 250
DATA > 354
LARGE x > 552 5.3.4 Too large for a@b.example
QUIT > 221
`

// TestOnTheWire drives the engine of SMTP, the door under the engine of policy,
// and the store on a disk, together: a message that is larger than what a draft
// keeps in memory becomes two contents and a copy, held as policy says.
func TestOnTheWire(t *testing.T) {
	clock := mail.SystemClock{}
	store, err := embedded.Open(t.TempDir(), embedded.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	door := New(Options{
		Hostname: "gate.example", Store: store, IDs: new(mail.IDs), Clock: clock, Local: &Local{Names: []string{"gate.example"}},
		Policy: engineOf(t, strings.ReplaceAll(handlersOfTest, "10.0.0.0/8", "127.0.0.0/8")+`
[[handler]]
name = "welcome"
at = "helo"
steps = [ { greeting = "Welcome ${smtp.helo.domain}" } ]
`).Begin,
	})
	var mu sync.Mutex
	var refused []string
	server := smtpserver.New(smtpserver.Options{
		Listener: "test", Hostname: "gate.example", MaxSize: 10 << 20, MaxRecipients: 100, MaxMessages: 100, Clock: clock, IDs: new(mail.IDs),
		Newlines: func(mail.Origin) smtp.Newlines { return smtp.NewlinesRefuse },
		Record: func(f mail.Fact) {
			mu.Lock()
			defer mu.Unlock()
			for _, step := range f.Trail {
				refused = append(refused, f.Command+": "+step.String())
			}
		},
	}, smtpserver.HandlerFunc(func(ctx context.Context, o mail.Origin) (smtpserver.Session, mail.Reply) {
		s := door.Session(o)
		return s, s.Begin(ctx)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(context.Background(), l) }()
	large := strings.Repeat("0123456789abcdef\r\n", 40_000)
	converse(t, netip.MustParseAddrPort(l.Addr().String()), large)
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-ended

	if diff := cmp.Diff([]string{
		"RCPT: no-yahoo (f:19), reject: 550 5.7.1 No mail to dan@yahoo.example",
		"end of data: large (f:39), reject: 552 5.3.4 Too large for a@b.example",
	}, refused); diff != "" {
		t.Errorf("trails of refusals (-want +got)\n%s", diff)
	}
	entries, err := store.List(t.Context(), queue.Filter{}, queue.Page{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, strings.Join(e.Addresses(), " ")+" "+string(e.Deliveries[0].Recipients[0].State))
		body, err := store.Body(t.Context(), e.Body)
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, body.Size())
		if _, err := body.ReadAt(content, 0); err != nil || !strings.HasSuffix(string(content), "\r\n\r\n"+large) {
			t.Errorf("the content for %s has %d octets, %v", e.Addresses(), len(content), err)
		}
		body.Close()
	}
	if diff := cmp.Diff([]string{"marked@x.example queued", "ann@x.example held", "abuse@example.com queued"}, got); diff != "" {
		t.Errorf("entries (-want +got)\n%s", diff)
	}
}

// converse says what dialogueOfTest has.
func converse(t *testing.T, server netip.AddrPort, large string) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", server.String(), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	br := bufio.NewReader(nc)
	for line := range strings.Lines(strings.TrimSpace(dialogueOfTest)) {
		say, want, found := strings.Cut(strings.TrimSpace(line), " > ")
		if !found {
			say, want = "", strings.TrimSpace(line)
		}
		if subject, isContent := strings.CutPrefix(say, "LARGE "); isContent {
			say = "Subject: " + subject + "\r\n\r\n" + large + "."
		}
		if say != "" {
			if _, err := fmt.Fprintf(nc, "%s\r\n", say); err != nil {
				t.Fatal(err)
			}
		}
		heard, err := br.ReadString('\n')
		for more := heard; err == nil && len(more) > 3 && more[3] == '-'; {
			more, err = br.ReadString('\n')
		}
		if err != nil || !strings.HasPrefix(heard, want) {
			t.Fatalf("to %.40q the server says %q, %v; want %q", say, heard, err, want)
		}
	}
}

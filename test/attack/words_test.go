package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"

	"postern/test/harness"
)

// The orders that a terminal would obey: a title and a bell, DEL, a colour that
// begins with one character above US-ASCII, and text turned around.
const (
	orders     = "\x1b]0;marked\x07\x7f\u009b31m\u202emarked"
	utf8Orders = "\u009b31m\u202emarked" // where control characters of US-ASCII are refused
	mark       = "marked"
)

// hostileDialogue has orders wherever a client may put words, and what each
// line must be answered with.
var hostileDialogue = []struct{ line, code string }{
	{"EHLO " + orders, "250"},
	{"NOOP " + orders, "500"},
	{orders, "500"},
	{"VRFY " + utf8Orders, "252"},
	{"BDAT " + utf8Orders, ""},
	{"EHLO " + orders, "250"},
	{"GET /" + utf8Orders + " HTTP/1.1", "554"},
	{"EHLO " + orders, "250"},
	{"MAIL FROM:<" + utf8Orders + "@source.example> FOO=" + utf8Orders + " SMTPUTF8", "5"},
	{"MAIL FROM:<" + utf8Orders + "@source.example> SMTPUTF8 ENVID=+1B]0;marked+07", "501"},
	{"MAIL FROM:<" + utf8Orders + "@source.example> SMTPUTF8", "250"},
	{"RCPT TO:<refused" + utf8Orders + "@postern.test.example>", "550"},
	{"RCPT TO:<" + utf8Orders + "@elsewhere.example> ORCPT=utf-8;\\x{9B}31marked@elsewhere.example", ""},
	{"RCPT TO:<bounced@elsewhere.example> NOTIFY=FAILURE,DELAY", "250"},
	{"RCPT TO:<deferred@elsewhere.example>", "250"},
	{"RCPT TO:<deferred" + utf8Orders + "@elsewhere.example>", "250"},
	{"RCPT TO:<deferred@" + utf8Orders + ".example>", "250"},
	{"DATA", "354"},
	{"Subject: " + orders + "\r\nMessage-ID: <" + orders + "@source.example>\r\nFrom: " + orders + "\r\n\r\n" + orders + "\r\n.", "250"},
}

// inbox keeps what arrives.
type inbox struct {
	mu   sync.Mutex
	list []harness.Arrival
}

func (b *inbox) add(a harness.Arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, a)
}

// reports are those that have arrived so far.
func (b *inbox) reports() []harness.Arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.list), func(a harness.Arrival) bool { return a.From != "" })
}

// startWords starts a server whose next server speaks in orders, and returns
// it with what arrives there, and the directory of submission.
func startWords(t *testing.T, format string) (*harness.Postern, *inbox, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-words-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	arrived := new(inbox)
	sink := &harness.Sink{
		Rcpt: func(_, to string) string {
			switch {
			case strings.HasPrefix(to, "bounced"):
				return "550-5.1.1 " + orders + "\r\n550 5.1.1 nobody " + orders
			case strings.HasPrefix(to, "deferred"):
				return "450 4.2.0 later " + orders
			}
			return ""
		},
		Take: func(a *harness.Arrival) string {
			a.Content = bytes.Clone(a.Content)
			arrived.add(*a)
			return "250 " + orders
		},
	}
	if err := sink.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	binary, err := harness.BuildPostern(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(dir, "spool")
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: sink.Addr(),
		Settings: fmt.Sprintf("[log]\nlevel = 'debug'\nformat = '%s'\n[submission]\ndirectory = %s\n", format, strconv.Quote(spool))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p, arrived, spool
}

// TestWordsOfOthers: whatever clients, next servers and users of the host say,
// nothing of it is an order to the terminal at which it is read, wherever that
// is.
func TestWordsOfOthers(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			p, arrived, spool := startWords(t, format)
			speak(ctx, t, p.Addr())
			drop := filepath.Join(spool, "drop", "m-"+strings.ReplaceAll(orders, "/", ""))
			if err := os.WriteFile(drop, []byte(orders), 0o600); err != nil {
				t.Fatal(err)
			}
			untilSaid(ctx, t, p, `reason":"deferred"`, `reason":"bounced"`, `drop directory`)
			for _, command := range [][]string{
				{"status"}, {"queue", "list"}, {"queue", "shape"}, {"journal", "tail", "-n", "1000"}, {"sendmail", "-bp"},
				{"queue", "show", queued(ctx, t, p)}, {"journal", "show", queued(ctx, t, p)},
			} {
				for _, flags := range [][]string{nil, {"--json"}} {
					if command[0] == "sendmail" && flags != nil {
						continue
					}
					said, err := p.Command(ctx, append(command, flags...)...).CombinedOutput()
					if err != nil {
						t.Errorf("%v: %v %q", command, err, said)
					}
					obeys(t, strings.Join(append(command, flags...), " "), said, command[0] != "status" && command[0] != "sendmail")
				}
			}
			for _, path := range []string{"/v1/queue", "/v1/journal", "/v1/status", "/v1/nothing/" + mark + "%1b%9b"} {
				obeys(t, path, ask(ctx, t, p, path), path != "/v1/status")
			}
			log, err := os.ReadFile(p.Log())
			if err != nil {
				t.Fatal(err)
			}
			obeys(t, "the log", log, true)
			files, err := filepath.Glob(filepath.Join(p.Journal(), "*.jsonl"))
			if err != nil || len(files) == 0 {
				t.Fatalf("journal files: %v, %v", files, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				obeys(t, file, text, true)
			}
			if err := harness.Until(ctx, "a report arrives", func() (bool, error) { return len(arrived.reports()) > 0, nil }); err != nil {
				t.Fatal(err)
			}
			checkReports(t, arrived.reports())
		})
	}
}

// speak plays the dialogue. A connection that the server ends is made again.
func speak(ctx context.Context, t *testing.T, addr string) {
	t.Helper()
	var c *client
	for _, step := range hostileDialogue {
		if c == nil {
			c = &client{addr: addr}
			if code, err := c.dial(ctx, net.IPv4(127, 0, 0, 1)); err != nil || code != "220" {
				t.Fatalf("greeted with %q, %v", code, err)
			}
		}
		code, err := c.say(step.line)
		if !strings.HasPrefix(code, step.code) || err != nil {
			t.Fatalf("%q was answered %q, %v; want %s", step.line, code, err, step.code)
		}
		if verb, _, _ := strings.Cut(step.line, " "); verb == "BDAT" || verb == "GET" {
			c.Close() // so does the server
			c = nil
		}
	}
	c.Close()
}

// untilSaid waits until log or journal have all of some words.
func untilSaid(ctx context.Context, t *testing.T, p *harness.Postern, words ...string) {
	t.Helper()
	err := harness.Until(ctx, "it is said", func() (bool, error) {
		log, err := os.ReadFile(p.Log())
		if err != nil {
			return false, err
		}
		facts, err := p.Command(ctx, "journal", "tail", "-n", "1000", "--json").Output()
		for _, w := range words {
			if !bytes.Contains(log, []byte(w)) && !bytes.Contains(facts, []byte(w)) {
				return false, err
			}
		}
		return true, err
	})
	if err != nil {
		t.Error(err)
	}
}

// queued is the id of a message in the queue.
func queued(ctx context.Context, t *testing.T, p *harness.Postern) string {
	t.Helper()
	list, err := p.Command(ctx, "queue", "list", "--json").Output()
	_, rest, _ := strings.Cut(string(list), `"id":"`)
	id, _, found := strings.Cut(rest, `"`)
	if err != nil || !found {
		t.Fatalf("nothing is queued: %v %q", err, list)
	}
	return id
}

// ask is what the API answers.
func ask(ctx context.Context, t *testing.T, p *harness.Postern, path string) []byte {
	t.Helper()
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.Data(), "admin.sock"))
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://postern"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := web.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// obeys fails the test when a terminal would obey a text; and when the marked
// words are not in it at all although they must be, since then it proves
// nothing.
func obeys(t *testing.T, what string, text []byte, marked bool) {
	t.Helper()
	if marked && !bytes.Contains(text, []byte(mark)) {
		t.Errorf("%s: the marked words are missing in %.2000q", what, text)
	}
	for line := range bytes.Lines(text) {
		if i := bytes.IndexFunc(bytes.TrimSuffix(line, []byte("\n")), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: a terminal would obey octet %d of %q", what, i, line)
			return
		}
	}
}

// checkReports looks at the header of each report and at its first two parts,
// which people and programs read; the third is the message that comes back.
func checkReports(t *testing.T, reports []harness.Arrival) {
	t.Helper()
	for _, a := range reports {
		own, _, found := bytes.Cut(a.Content, []byte("Content-Type: message/rfc822"))
		if !found {
			own, _, found = bytes.Cut(a.Content, []byte("Content-Type: message/global"))
		}
		if !found {
			t.Errorf("a report without the message: %q", a.Content)
		}
		folded := bytes.ReplaceAll(bytes.ReplaceAll(own, []byte("\r\n"), []byte("\n")), []byte("\n\t"), []byte("\n "))
		obeys(t, "a report", folded, true)
	}
}

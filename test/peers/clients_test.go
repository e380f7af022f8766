package peers

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// mailing is what is sent.
type mailing struct {
	name       string
	text       string
	attachment int // octets
	recipients int
	tls        bool
}

var mailings = []mailing{
	{name: "plain", text: "first\n.\n..two\nmarker\n", recipients: 1},
	{name: "UTF-8", text: "Grüße, Ελλάδα, 日本語\n.\nmarker\n", recipients: 1},
	{name: "attachment", text: "see there\n", attachment: 100 << 10, recipients: 1},
	{name: "to many", text: "to all\n", recipients: 150},
	{name: "large", text: "10 MB\n", attachment: 15 << 19, recipients: 1}, // 10 MB in Base64
	{name: "TLS", text: "secret\n.\nmarker\n", recipients: 2, tls: true},
	{name: "large under TLS", text: "10 MB\n", attachment: 15 << 19, recipients: 1, tls: true},
}

// TestClients sends mail of each kind to Postern with each of the tools that
// people reach for first.
func TestClients(t *testing.T) {
	ctx := bounded(t)
	taken := make(chan harness.Arrival, 300)
	sink := startSink(t, func(a *harness.Arrival) string {
		kept := *a // the sink goes on to use what a has
		kept.Content, kept.To = bytes.Clone(a.Content), slices.Clone(a.To)
		taken <- kept
		return ""
	})
	dir := directory(t)
	config, _ := mailtest.ServerTLS(t, "postern.test.example", "localhost")
	ca, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, ca, mailtest.CertificatePEM(config))
	write(t, key, mailtest.KeyPEM(t, config))
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	secured := harness.Loopback(port)
	postern := startPosternWith(ctx, t, sink.Addr(), fmt.Sprintf(
		"[[listener]]\nname = 'tls'\naddress = '%s'\ntrust = ['127.0.0.0/8']\ntls_certificate = '%s'\ntls_key = '%s'\n", secured, ca, key))
	for i, m := range mailings {
		s, attached := m.files(t, filepath.Join(dir, fmt.Sprint(i)))
		s.host, s.port, _ = strings.Cut(postern.Addr(), ":")
		if m.tls {
			s.port, s.ca = fmt.Sprint(port), ca
		}
		for _, client := range mailClients {
			t.Run(m.name+"/"+client.name, func(t *testing.T) {
				client.send(bounded(t), t, s)
				arrived := collect(ctx, t, taken, s.to)
				for _, a := range arrived {
					client.check(t, &a, s, attached)
				}
			})
		}
	}
	if err := harness.UntilEmpty(ctx, postern); err != nil {
		t.Error(err)
	}
	if n := len(taken); n > 0 {
		t.Errorf("%d more messages arrived", n)
	}
}

// files writes the files of a mailing, and returns them with the attachment.
func (m *mailing) files(t *testing.T, dir string) (*sending, []byte) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	s := &sending{text: at("text"), message: at("message"), unix: at("unix"), recipients: at("recipients")}
	for i := range m.recipients {
		s.to = append(s.to, fmt.Sprintf("recipient%d@example.net", i))
	}
	var attached []byte
	if m.attachment > 0 {
		s.attachment, attached = at("attachment.bin"), make([]byte, m.attachment)
		rand.NewChaCha8([32]byte{}).Read(attached)
		write(t, s.attachment, attached)
	}
	write(t, s.text, []byte(m.text))
	write(t, s.recipients, []byte(strings.Join(s.to, "\n")+"\n"))
	message := compose(m.text, attached)
	write(t, s.unix, message)
	write(t, s.message, bytes.ReplaceAll(message, []byte("\n"), []byte("\r\n")))
	return s, attached
}

// send runs the client, which must succeed.
func (c *mailClient) send(ctx context.Context, t *testing.T, s *sending) {
	t.Helper()
	if out, err := c.run(ctx, t, s); err != nil {
		t.Fatalf("%s: %v\n%.2000s", c.name, err, out)
	}
}

// run runs the client, and returns what it tells, and whether it has failed.
func (c *mailClient) run(ctx context.Context, t *testing.T, s *sending) (told string, failed error) {
	t.Helper()
	path := c.path(t)
	arguments := c.arguments(s)
	if c.program == "javac" { // which java has inside
		path, arguments = arguments[0], arguments[1:]
	}
	home := t.TempDir()
	command := exec.CommandContext(ctx, path, arguments...)
	command.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8")
	if c.input != nil {
		input, err := os.Open(c.input(s))
		if err != nil {
			t.Fatal(err)
		}
		defer input.Close()
		command.Stdin = input
	}
	out, failed := command.CombinedOutput()
	if c.output != "" {
		if more, err := os.ReadFile(filepath.Join(home, c.output)); err == nil {
			out = append(out, more...)
		}
	}
	return string(out), failed
}

// path is that of the client's program. A test for which it is not installed ends.
func (c *mailClient) path(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath(c.program)
	if err == nil && c.library != "" {
		_, err = os.Stat(c.library)
	}
	if err != nil && c.optional {
		t.Skipf("%v; it is too large to be installed for the tests", err)
	}
	if err != nil {
		lack(t, err)
	}
	return path
}

// collect waits until all recipients have got the message.
func collect(ctx context.Context, t *testing.T, taken <-chan harness.Arrival, to []string) []harness.Arrival {
	t.Helper()
	var arrived []harness.Arrival
	var got []string
	for len(got) < len(to) {
		select {
		case a := <-taken:
			arrived, got = append(arrived, a), append(got, a.To...)
		case <-ctx.Done():
			t.Fatalf("the message arrived for %d of %d recipients", len(got), len(to))
		}
	}
	want := slices.Sorted(slices.Values(to))
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("arrived for %q, want %q", got, want)
	}
	return arrived
}

// check compares what has arrived with what was sent.
func (c *mailClient) check(t *testing.T, a *harness.Arrival, s *sending, attached []byte) {
	t.Helper()
	if a.From != "sender@example.org" {
		t.Errorf("arrived from <%s>", a.From)
	}
	fields, rest := harness.CutReceived(a.Content)
	if fields != 1 {
		t.Errorf("%d Received fields on top, want 1", fields)
	}
	if !c.composes {
		if want := append(read(t, s.message), c.adds...); !bytes.Equal(rest, want) {
			t.Errorf("it has changed: %s", harness.Difference(rest, want))
		}
		return
	}
	text, attachment, err := decompose(rest)
	if err != nil {
		t.Fatalf("%v in %.1000q", err, rest)
	}
	if want := string(read(t, s.text)); text != strings.TrimSpace(want) {
		t.Errorf("text %q, want %q", text, want)
	}
	if !bytes.Equal(attachment, attached) {
		t.Errorf("the attachment has changed: %s", harness.Difference(attachment, attached))
	}
	if s.attachment == "" && attachment != nil {
		t.Error("an attachment arrived that was not sent")
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

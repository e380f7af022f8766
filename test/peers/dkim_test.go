package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/dkim"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// signatures are signed messages in files, with what DNS has of their keys.
type signatures struct {
	dir     string
	records map[string]string // by their names
	files   []string
}

// verifier is a program of others that looks at signatures. For each file it returns how many
// it found good, and how many there are.
type verifier func(ctx context.Context, t *testing.T, s *signatures) [][2]int

var verifiers = map[string]verifier{"dkimpy": byDkimpy, "opendkim": byOpenDKIM, "rspamd": byRspamd}

// add writes a message into a file of its own.
func (s *signatures) add(t *testing.T, content string) {
	t.Helper()
	path := filepath.Join(s.dir, fmt.Sprintf("%02d.eml", len(s.files)))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	s.files = append(s.files, path)
}

func newSignatures(t *testing.T) *signatures {
	return &signatures{dir: directory(t), records: map[string]string{}}
}

const dkimpyScript = `
import json, sys, dkim
records = json.load(open(sys.argv[1]))
def txt(name, timeout=5):
    record = records.get(name.decode().rstrip("."))
    return record.encode() if record else None
for path in sys.argv[2:]:
    message = open(path, "rb").read()
    good, there = 0, message.split(b"\r\n\r\n")[0].lower().count(b"dkim-signature:")
    for i in range(there):
        try:
            good += bool(dkim.DKIM(message).verify(idx=i, dnsfunc=txt))
        except dkim.DKIMException:
            pass
    print(good, there)
`

// byDkimpy verifies by python3-dkim.
func byDkimpy(ctx context.Context, t *testing.T, s *signatures) [][2]int {
	records, err := json.Marshal(s.records)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "records.json")
	if err := os.WriteFile(file, records, 0o644); err != nil {
		t.Fatal(err)
	}
	const python = "/usr/bin/python3" // that of Debian, which has the package
	if err := exec.CommandContext(ctx, python, "-c", "import dkim, nacl").Run(); err != nil {
		lack(t, fmt.Errorf("python3-dkim: %w", err))
	}
	out, err := exec.CommandContext(ctx, python, append([]string{"-c", dkimpyScript, file}, s.files...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var list [][2]int
	for line := range strings.Lines(string(out)) {
		var r [2]int
		if _, err := fmt.Sscan(line, &r[0], &r[1]); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		list = append(list, r)
	}
	return list
}

// byOpenDKIM verifies by opendkim, in its test mode. What it says of each signature stands in
// the field that it would add.
func byOpenDKIM(ctx context.Context, t *testing.T, s *signatures) [][2]int {
	var records strings.Builder
	for name, text := range s.records {
		fmt.Fprintf(&records, "%s %s\n", name, text)
	}
	s.write(t, "opendkim.dns", records.String())
	s.write(t, "opendkim.conf", fmt.Sprintf("Mode v\nSyslog no\nTestDNSData file:%[1]s/opendkim.dns\nTemporaryDirectory %[1]s\n", s.dir))
	var list [][2]int
	for _, file := range s.files { // it says of which file it speaks on another stream
		opendkim := exec.CommandContext(ctx, program(t, "opendkim"), "-x", filepath.Join(s.dir, "opendkim.conf"), "-vvv", "-t", file)
		out, err := opendkim.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, said, _ := strings.Cut(string(out), "hname='Authentication-Results'")
		said, _, _ = strings.Cut(said, "dkim-atps")
		good := strings.Count(said, "dkim=pass")
		list = append(list, [2]int{good, strings.Count(said, "dkim=") - strings.Count(said, "dkim=none")})
	}
	return list
}

// rspamdSettings are for rspamd with nothing but DKIM: where it is, its port, and that of DNS.
const rspamdSettings = `
options {
  pidfile = "%[1]s/rspamd.pid";
  tempdir = "%[1]s";
  url_tld = "%[1]s/tld";
  disable_hyperscan = true;
  filters = "dkim";
  local_addrs = [];
  check_local = true;
  dns { nameserver = ["127.0.0.1:%[3]d:1"]; timeout = 5s; retransmits = 3; enable_dnssec = false; }
}
logging { type = "file"; filename = "%[1]s/rspamd.log"; level = "warning"; }
worker "normal" { bind_socket = "127.0.0.1:%[2]d"; count = 1; }
dkim { dkim_cache_size = 100; check_local = true; check_authed = true; }
actions { reject = 1000; }
`

// byRspamd verifies by rspamd, which asks a real name server.
func byRspamd(ctx context.Context, t *testing.T, s *signatures) [][2]int {
	rspamd := program(t, "rspamd")
	var zone strings.Builder
	for name, text := range s.records {
		zone.WriteString(strings.Replace(dkim.ZoneLine(name, text), " IN TXT", " 60 IN TXT", 1) + "\n")
	}
	server := mailtest.NewDNS(t, zone.String())
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "tld", "org\nnet\nexample\n")
	s.write(t, "rspamd.conf", fmt.Sprintf(rspamdSettings, s.dir, port, server.Addr().Port()))
	if err := os.Chmod(s.dir, 0o777); err != nil { // its workers may be another user's
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	daemon := exec.CommandContext(ctx, rspamd, "-f", "-i", "-c", filepath.Join(s.dir, "rspamd.conf"))
	daemon.Cancel = func() error { return daemon.Process.Signal(os.Interrupt) }
	daemon.WaitDelay = 10 * time.Second
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = daemon.Wait() // it was interrupted
	}()
	address := "http://" + harness.Loopback(port)
	if err := harness.Until(ctx, "rspamd answers", func() (bool, error) {
		response, err := http.Get(address + "/ping")
		if err == nil {
			response.Body.Close()
		}
		return err == nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	var list [][2]int
	for _, file := range s.files {
		list = append(list, askRspamd(t, address, file))
	}
	return list
}

// askRspamd asks a daemon about one message.
func askRspamd(t *testing.T, address, file string) [2]int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	response, err := http.Post(address+"/checkv2", "message/rfc822", f)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var said struct {
		Symbols map[string]struct{ Options []string }
	}
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	good := len(said.Symbols["R_DKIM_ALLOW"].Options)
	return [2]int{good, good + len(said.Symbols["R_DKIM_REJECT"].Options) + len(said.Symbols["R_DKIM_TEMPFAIL"].Options) + len(said.Symbols["R_DKIM_PERMFAIL"].Options)}
}

func (s *signatures) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// signer is a key of each kind of example.org, with their records.
func signer(t *testing.T, s *signatures) []dkim.Key {
	t.Helper()
	keys := []dkim.Key{{Domain: "example.org", Selector: "r"}, {Domain: "example.org", Selector: "e"}}
	for i, a := range dkim.Algorithms {
		private, err := dkim.NewKey(a, 0)
		if err != nil {
			t.Fatal(err)
		}
		keys[i].Private = private
		if s.records[keys[i].Name()], err = dkim.RecordText(&keys[i]); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// toBeSigned has two fields of a name that may be there twice: rspamd finds no signature good over
// two of those that may not.
const toBeSigned = "Received: by x.example\r\nFrom: A <a@example.org>\r\nTo: b@example.net\r\nCc: c@example.net\r\nSubject: One two\r\n" +
	"Date: Fri, 1 Jan 2027 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nIn-Reply-To: <0@example.org>\r\nReferences: <0@example.org>\r\nReply-To: r@example.org\r\n" +
	"X-Note: yes\r\nX-Note: and no\r\nList-Id: <l.example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" +
	"Pay 10 to Alice.\r\n\r\nThanks\r\n"

// changed are the changes of toBeSigned that are tried, each with whether the signatures must
// stand it.
var changed = []struct {
	name, old, new string
	good           bool
}{
	{"a word of the body", "Alice", "Mallory", false},
	{"a line added to the body", "Thanks\r\n", "Thanks\r\nP.S.\r\n", false},
	{"the body cut", "Thanks\r\n", "", false},
	{"a space in a word", "Thanks", "Than ks", false},
	{"an empty line in the body", "Alice.\r\n", "Alice.\r\n\r\n", false},
	{"From", "A <a@", "A <ceo@", false},
	{"a second From above", "From: A", "From: ceo@example.org\r\nFrom: A", false},
	{"a second From below", "MIME-Version", "From: ceo@example.org\r\nMIME-Version", false},
	{"To", "To: b@", "To: x@", false},
	{"the order of two fields", "X-Note: yes\r\nX-Note: and no", "X-Note: and no\r\nX-Note: yes", false},
	{"a Cc taken away", "Cc: c@example.net\r\n", "", false},
	{"Subject", "One two", "One three", false},
	{"a second Subject", "Subject: One", "Subject: Urgent\r\nSubject: One", false},
	{"Date", "1 Jan", "2 Jan", false},
	{"Message-ID", "<1@", "<2@", false},
	{"In-Reply-To", "In-Reply-To: <0@", "In-Reply-To: <3@", false},
	{"References", "References: <0@", "References: <3@", false},
	{"Reply-To", "r@example.org", "evil@example.com", false},
	{"another field of the settings", "X-Note: yes", "X-Note: no", false},
	{"List-Id taken away", "List-Id: <l.example.org>\r\n", "", false},
	{"MIME-Version", "MIME-Version: 1.0", "MIME-Version: 1.1", false},
	{"Content-Type", "text/plain", "text/html", false},
	{"Content-Transfer-Encoding", "Encoding: 7bit", "Encoding: base64", false},
	{"a field of MIME added", "X-Note", "Content-Disposition: attachment\r\nX-Note", false},

	{"nothing", "Thanks", "Thanks", true},
	{"white space at the end", "Thanks\r\n", "Thanks \t\r\n\r\n\r\n", true},
	{"white space in a line", "Pay 10", "Pay \t 10", true},
	{"folding", "One two", "One\r\n\ttwo", true},
	{"the case of a name", "Subject:", "SUBJECT:", true},
	{"Received", "Received: by x", "Received: by y.example\r\nReceived: by x", true},
	{"a field of a list added", "X-Note", "List-Post: <mailto:l@example.org>\r\nX-Note", true},
}

// TestSignaturesByPeers: programs of others find our signatures good, and those of a message
// that was changed broken (RFC 6376, RFC 8463).
func TestSignaturesByPeers(t *testing.T) {
	ctx := bounded(t)
	s := newSignatures(t)
	keys := signer(t, s)
	fields, err := dkim.Options{Fields: []string{"X-Note"}, Expiry: time.Hour}.Sign(strings.NewReader(toBeSigned), time.Now(), keys...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changed {
		if !strings.Contains(toBeSigned, c.old) {
			t.Fatal(c.name)
		}
		s.add(t, fields+strings.Replace(toBeSigned, c.old, c.new, 1))
	}
	for name, v := range verifiers {
		results := v(ctx, t, s)
		if len(results) != len(changed) {
			t.Fatalf("%s looked at %d messages", name, len(results))
		}
		for i, c := range changed {
			want := [2]int{0, len(keys)}
			if c.good {
				want[0] = len(keys)
			}
			if results[i] != want {
				t.Errorf("%s, %s: %d of %d signatures are good, want %d", c.name, name, results[i][0], results[i][1], want[0])
			}
		}
	}
}

// TestSignedMailByPeers: what the binary has signed arrives with signatures that programs of
// others find good: a message, that of a list, and a report; and one with 8-bit octets that goes to
// a server without 8BITMIME.
func TestSignedMailByPeers(t *testing.T) {
	ctx := bounded(t)
	swaks := program(t, "swaks")
	binary := buildPostern(ctx, t)
	s := newSignatures(t)
	arrived := make(chan string, 10)
	sink := listen(t, &harness.Sink{
		Take: func(a *harness.Arrival) string { arrived <- string(a.Content); return "" },
		Rcpt: func(_, to string) string {
			if strings.HasPrefix(to, "gone@") {
				return "550 5.1.1 no such user"
			}
			return ""
		},
	})
	p := startBuilt(ctx, t, binary, sink.Addr(), "")
	s.addKeys(ctx, t, p)
	postern(ctx, t, p, "domain", "add", "lists.test.example")
	postern(ctx, t, p, "list", "add", "staff", "--kind", "distribution", "--address", "staff@lists.test.example", "--owner", "boss@test.example", "--posters", "everybody", "--entry", "member@elsewhere.example")
	send := func(to string) {
		t.Helper()
		host, port, _ := strings.Cut(p.Addr(), ":")
		out, err := exec.CommandContext(ctx, swaks, "--server", host, "--port", port, "--from", "me@test.example", "--to", to,
			"--header", "Subject: to "+to, "--header", "Content-Type: text/plain; charset=utf-8", "--body", "gr\u00fc\u00dfe\nfrom here\n").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, to := range []string{"you@elsewhere.example", "staff@lists.test.example", "gone@elsewhere.example"} {
		send(to)
		select {
		case content := <-arrived:
			if strings.ContainsFunc(content, func(r rune) bool { return r > 127 }) {
				t.Errorf("to %s: not 7-bit:\n%s", to, content)
			}
			s.add(t, content)
		case <-ctx.Done():
			t.Fatalf("nothing came of the message to %s", to)
		}
	}
	poor := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: []string{"PIPELINING", "SIZE 0"}})
	p = startBuilt(ctx, t, binary, poor.Addr().String(), "")
	s.addKeys(ctx, t, p)
	send("you@elsewhere.example")
	received, err := poor.Wait(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.add(t, string(received[0].Content))
	for name, v := range verifiers {
		for i, result := range v(ctx, t, s) {
			if result != [2]int{2, 2} {
				text, _ := os.ReadFile(s.files[i])
				t.Errorf("%s: %d of %d signatures are good:\n%s", name, result[0], result[1], text)
			}
		}
	}
}

// postern runs a command, and returns what it says.
func postern(ctx context.Context, t *testing.T, p *harness.Postern, args ...string) []byte {
	t.Helper()
	out, err := p.Command(ctx, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return out
}

// addKeys makes keys with which a server signs at once, and notes their records.
func (s *signatures) addKeys(ctx context.Context, t *testing.T, p *harness.Postern) {
	t.Helper()
	selector := fmt.Sprintf("s%d", len(s.records))
	for _, a := range dkim.Algorithms {
		var made []dkim.KeyInfo
		out := postern(ctx, t, p, "dkim", "key", "add", "test.example", "--selector", selector+string(a), "--algorithm", string(a), "--now", "--json")
		if err := json.Unmarshal(out, &made); err != nil {
			t.Fatal(err)
		}
		s.records[made[0].Name] = made[0].Record
	}
}

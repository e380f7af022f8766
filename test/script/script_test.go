// Package script runs the scenarios in testdata: each a text that starts the
// real program, talks to it as a client would, and looks at what it says.
//
// Beside the commands of testscript there are:
//
//	free [-6] NAME...        sets each variable to a free address on loopback,
//	                         with -6 on that of IPv6, and NAME_PORT to its port,
//	                         as all do that set an address
//	nameserver NAME FILE     starts a name server with the zone in the file
//	                         (mailtest.DNS), and sets the variable to its
//	                         address
//	certificate NAME CERT KEY
//	                         makes a certificate for a name, signed by itself, in
//	                         two files
//	await ADDRESS            waits until a server greets there, or with "!"
//	                         until nobody listens there
//	chat FILE                holds a conversation at $SMTP: "C: text" is sent,
//	                         "S: pattern" must match the server's next line,
//	                         "S+: pattern" all lines of its next reply,
//	                         "-- TLS" begins TLS, with the client's certificate
//	                         if a file with it and its key is named, "-- end"
//	                         wants the connection to be closed by the server
//	eventually PATTERN ARGS  runs postern with the arguments until its output
//	                         matches
//	receiver [-6] [-lmtp] [-held FILE] [-answers FILE] [-tls CERT,KEY] NAME [AT]
//	                         starts a server that takes everything and knows no
//	                         DSN, at an address or a free one, and sets the
//	                         variable to it; it speaks LMTP if told so, and a line
//	                         "RCPT TO:<x@: 450 no" of the file is its reply to
//	                         commands that begin so ("-- end" closes), "TLS RCPT TO:<x@: 450 no" under TLS,
//	                         which it offers if it has a certificate, and no message is answered
//	                         before there is the file for which it is held; each message becomes a file in a
//	                         directory of that name, its recipients one of the
//	                         same name in NAME.to, in order, each in a line, and
//	                         in NAME.from what the client called itself, and its
//	                         address, in NAME.by that with its port
//	balancer NAME ADDRESS... gives each connection to the next of several
//	                         addresses, as one that has a virtual address does
//	shown NAME PATTERN [ROOTS]
//	                         begins TLS at $SMTP, asking for a name ("-": none),
//	                         until the certificate matches: "for NAMES by
//	                         ISSUER, KIND OF KEY"; with a file of roots it must
//	                         verify. "! shown" waits until no TLS is offered
//	aged FILE NAME LEFT LIFE
//	                         makes a certificate with its key that has so many
//	                         days left of its life
//	mode FILE                wants a file that its owner alone can read
//	observed [-for ROW] FILE tells docs/ways-out.md what is in the file, or was in
//	                         the output (stdout), for a row of a table if the
//	                         scenario is about several
//	observed [-for ROW] PATTERN ARGS
//	                         does as eventually, and tells the page what the
//	                         groups of the pattern matched
//
// A chat in which the server says "accepted as ID" sets $ID. The condition
// [ipv6] holds where loopback has an address of IPv6; where peers are required
// (harness.Required), it has to.
package script

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"postern/internal/certs"
	"postern/internal/cli"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// patience bounds every wait.
const patience = time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"postern": func() { os.Exit(cli.Main(asItIs(os.Args[1:]), os.Stdout, os.Stderr)) },
	})
}

// asItIs lets a server that root starts stay root's, unless the scenario names a
// user.
func asItIs(args []string) []string {
	if len(args) > 0 && args[0] == "serve" && os.Geteuid() == 0 {
		return slices.Insert(slices.Clone(args), 1, "--user", "root")
	}
	return args
}

func TestScript(t *testing.T) { testscript.Run(t, params("testdata")) }

// params are for the scenarios of a directory.
func params(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Values[addressesKey{}] = new(names)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"free":        free,
			"nameserver":  nameserver,
			"certificate": certificate,
			"await":       await,
			"chat":        chat,
			"eventually":  eventually,
			"receiver":    receiver,
			"balancer":    balancer,
			"shown":       shown,
			"mode":        mode,
			"aged":        aged,
			"observed":    observed,
		},
		Condition: func(condition string) (bool, error) {
			if condition != "ipv6" {
				return false, fmt.Errorf("unknown condition %q", condition)
			}
			l, err := net.Listen("tcp6", "[::1]:0")
			if err != nil {
				return harness.Required(), nil
			}
			return true, l.Close()
		},
	}
}

// loopback is an address of loopback, with no port yet.
func loopback(six bool) string {
	if six {
		return "[::1]:0"
	}
	return harness.Loopback(0)
}

// free finds ports that nobody listens at.
func free(ts *testscript.TestScript, _ bool, args []string) {
	six := len(args) > 0 && args[0] == "-6"
	if six {
		args = args[1:]
	}
	for _, name := range args {
		setAddress(ts, name, freeAddress(ts, six))
	}
}

// given counts the ports that were given to scenarios.
var given atomic.Int64

// freeAddress returns one that nobody else is given. Its port is below those that the system gives
// to who asks for any, as others do at the same time.
func freeAddress(ts *testscript.TestScript, six bool) string {
	const lowest, ports = 10_000, 20_000
	host, _, err := net.SplitHostPort(loopback(six))
	ts.Check(err)
	for range ports {
		at := (int64(os.Getpid())*61 + given.Add(1)) % ports
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.FormatInt(lowest+at, 10)))
		if err == nil {
			ts.Check(l.Close())
			return l.Addr().String()
		}
	}
	ts.Fatalf("no port is free")
	return ""
}

func nameserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nameserver NAME FILE")
	}
	server, err := mailtest.StartDNS(ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Defer(server.Close)
	setAddress(ts, args[0], server.Addr().String())
}

func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: certificate NAME CERTIFICATE KEY")
	}
	made, err := certs.SelfSigned(certs.Options{Names: args[:1]})
	ts.Check(err)
	ts.Check(certs.Save(made, ts.MkAbs(args[1]), ts.MkAbs(args[2])))
	ts.Setenv("FINGERPRINT", certs.Fingerprint(made.Leaf))
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: await ADDRESS")
	}
	until := time.Now().Add(patience)
	for {
		err := greeted(args[0])
		if refused := errors.Is(err, syscall.ECONNREFUSED); neg && refused || !neg && err == nil {
			return
		}
		if time.Now().After(until) {
			ts.Fatalf("still waiting for %s: %v", args[0], err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func greeted(address string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "220") {
		err = fmt.Errorf("it said %q", line)
	}
	return err
}

// eventually runs a command again and again: what it waits for happens in
// another process.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN ARGUMENT...")
	}
	ts.Logf("%s", untilMatch(ts, args[0], args[1:])[0])
}

// untilMatch runs the program until a line of its output matches, and returns the output
// and what the groups of the pattern matched.
func untilMatch(ts *testscript.TestScript, text string, args []string) []string {
	pattern, err := regexp.Compile("(?m)" + text)
	ts.Check(err)
	until := time.Now().Add(patience)
	for {
		command := exec.Command(program(ts), args...)
		command.Dir = ts.MkAbs(".")
		out, _ := command.CombinedOutput() // a failure may be what passes
		if match := pattern.FindStringSubmatch(string(out)); match != nil {
			return append([]string{string(out)}, match[1:]...)
		}
		if time.Now().After(until) {
			ts.Fatalf("no match for %q in:\n%s", text, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// program returns the path of the program, which testscript put on PATH.
func program(ts *testscript.TestScript) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		if path := dir + "/postern"; exists(path) {
			return path
		}
	}
	ts.Fatalf("no postern on PATH")
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// chat holds a conversation.
func chat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: chat FILE")
	}
	conn, err := net.DialTimeout("tcp", ts.Getenv("SMTP"), patience)
	ts.Check(err)
	t := &talk{ts: ts, name: args[0], conn: conn, in: bufio.NewReader(conn)}
	defer func() { t.conn.Close() }()
	for i, line := range strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n") {
		conn.SetDeadline(time.Now().Add(patience))
		t.line = i + 1
		t.step(strings.TrimSuffix(line, "\r"))
	}
}

// talk is a conversation under way.
type talk struct {
	ts   *testscript.TestScript
	name string
	line int
	conn net.Conn
	in   *bufio.Reader
}

func (t *talk) fatalf(format string, args ...any) {
	t.ts.Fatalf("%s:%d: %s", t.name, t.line, fmt.Sprintf(format, args...))
}

func (t *talk) step(line string) {
	what, text, _ := strings.Cut(line, " ")
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
	case what == "C:":
		t.send(text)
	case what == "S:":
		t.expect(text)
	case what == "S+:":
		for strings.HasPrefix(t.expect(text)[3:], "-") {
		}
	case line == "-- TLS":
		t.startTLS(nil)
	case strings.HasPrefix(line, "-- TLS "):
		t.startTLS(t.certificate(line[len("-- TLS "):]))
	case line == "-- end":
		if rest, err := io.ReadAll(t.in); len(rest) > 0 || err != nil {
			t.fatalf("the server went on: %q, %v", rest, err)
		}
	default:
		t.fatalf("a line begins with \"C: \", \"S: \" or \"S+: \", or is \"-- TLS\" or \"-- end\"")
	}
}

// escapes lets a conversation hold octets that a text file cannot.
var escapes = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00", `\\`, `\`)

// send sends a line; one that ends in \c is sent without its CRLF.
func (t *talk) send(text string) {
	text, open := strings.CutSuffix(text, `\c`)
	text = escapes.Replace(text)
	if !open {
		text += "\r\n"
	}
	if _, err := io.WriteString(t.conn, text); err != nil {
		t.fatalf("cannot send: %v", err)
	}
}

var accepted = regexp.MustCompile(`accepted as (\w+)`)

// expect reads a line, which has a code at its front, and returns it.
func (t *talk) expect(pattern string) string {
	line, err := t.in.ReadString('\n')
	if err != nil {
		t.fatalf("wanted %q, got %q and %v", pattern, line, err)
	}
	line, ended := strings.CutSuffix(line, "\r\n")
	if !ended {
		t.fatalf("the line %q does not end in CRLF", line)
	}
	if matched, err := regexp.MatchString("^(?:"+pattern+")$", line); err != nil || !matched || len(line) < len("250 ") {
		t.fatalf("wanted %q, got %q (%v)", pattern, line, err)
	}
	if m := accepted.FindStringSubmatch(line); m != nil {
		t.ts.Setenv("ID", m[1])
	}
	return line
}

// certificate reads what the client shows, with its key, from one file.
func (t *talk) certificate(file string) []tls.Certificate {
	text := []byte(t.ts.ReadFile(file))
	c, err := tls.X509KeyPair(text, text)
	t.ts.Check(err)
	return []tls.Certificate{c}
}

func (t *talk) startTLS(shown []tls.Certificate) {
	config := &tls.Config{InsecureSkipVerify: true} // the server's is a throw-away
	if len(shown) > 0 {
		// Whatever authorities the server names: that of a stranger is shown, too.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown[0], nil }
	}
	secure := tls.Client(t.conn, config)
	if err := secure.Handshake(); err != nil {
		t.fatalf("TLS: %v", errors.Unwrap(err))
	}
	t.conn, t.in = secure, bufio.NewReader(secure)
}

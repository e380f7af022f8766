package peers

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

// refusals are all that must not get in.
func (e *entrance) refusals(t *testing.T, saw *observed) {
	for _, c := range clientsWithLogin() {
		for _, mode := range modes {
			if c.onlySTARTTLS && mode.suffix != "" {
				continue
			}
			t.Run("wrong password/"+c.name+"/"+mode.name, func(t *testing.T) {
				l := e.login(t, "PLAIN")
				l.keep(t, otherPassword)
				saw.add(e.isRefused(t, c, "submission"+mode.suffix, l), "wrong password", c.name, mode.name)
			})
		}
	}
	e.closedAccounts(t, saw)
	t.Run("msmtp SCRAM-SHA-256-PLUS", e.noPlus)
	if err := harness.Until(bounded(t), "the certificate has expired", func() (bool, error) { return time.Now().After(e.over), nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range clientsWithLogin() {
		for _, listener := range []string{"expired", "other"} {
			for _, mode := range modes {
				if c.onlySTARTTLS && mode.suffix != "" {
					continue
				}
				t.Run(listener+"/"+c.name+"/"+mode.name, func(t *testing.T) {
					saw.add(e.leaves(t, c, listener+mode.suffix, ""), listener, c.name, mode.name)
				})
			}
		}
		if !c.onlySTARTTLS {
			t.Run("stripped/"+c.name, func(t *testing.T) { saw.add(e.leavesStripped(t, c), "stripped", c.name) })
		}
	}
	t.Run("in clear", func(t *testing.T) {
		secret := base64.StdEncoding.EncodeToString([]byte("\x00" + joe + "\x00" + joesPassword))
		saw.add(e.says(t, "submission", "AUTH PLAIN "+secret+"\r\n", "530 5.7.0"), "TLS required")
		saw.add(e.says(t, "other", "AUTH PLAIN "+secret+"\r\n", "538 5.7.11"), "TLS offered")
		saw.add(e.says(t, "submission", "STARTTLS\r\nEHLO client.example\r\nMAIL FROM:<sender@example.org>\r\n", "554 5.5.1"), "injected")
	})
}

// msmtp is the client with the most mechanisms.
func msmtp() *mailClient { return &mailClients[1] }

// closedAccounts has users log in who are disabled, or whose time is over.
func (e *entrance) closedAccounts(t *testing.T, saw *observed) {
	ctx := bounded(t)
	for _, account := range []string{"disabled", "expired"} {
		user := account + "@example.com"
		e.say(ctx, t, joesPassword+"\n", "user", "add", user, "--password", "--certificate", e.certificate(ctx, t, account))
		if account == "disabled" {
			e.say(ctx, t, "", "user", "disable", user)
		} else {
			e.say(ctx, t, "", "user", "set", user, "--expires", "2020-01-01")
		}
		for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "EXTERNAL"} {
			t.Run(account+"/"+mechanism, func(t *testing.T) {
				l := e.login(t, mechanism)
				l.user = user
				if l.certificate != "" {
					l.certificate = e.certificateFile(account)
				}
				saw.add(e.isRefused(t, msmtp(), "submission", l), account, mechanism)
			})
		}
	}
}

// isRefused has a client log in with what is no good, and returns what it was told.
func (e *entrance) isRefused(t *testing.T, c *mailClient, listener string, l login) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), oneLogin)
	defer cancel()
	s := e.sending(t, listener, "nobody@example.net")
	s.login = l
	told, failed := c.run(ctx, t, s)
	if failed == nil || answer(told) != "535 5.7.8" {
		t.Errorf("the client ends with %v, and the reply is %q in\n%.6000s", failed, answer(told), told)
	}
	return answer(told)
}

// noPlus shows that msmtp, as Debian has it, does not know channel binding.
func (e *entrance) noPlus(t *testing.T) {
	s := e.sending(t, "submission", "nobody@example.net")
	s.login = e.login(t, "SCRAM-SHA-256-PLUS")
	told, failed := msmtp().run(bounded(t), t, s)
	if failed == nil || !strings.Contains(told, "invalid argument scram-sha-256-plus") {
		t.Errorf("%v\n%s", failed, told)
	}
}

// leaves has a client connect that must not go on, by a listener or at another port, and returns
// what it does: no message comes, and no AUTH.
func (e *entrance) leaves(t *testing.T, c *mailClient, listener, port string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), oneLogin)
	defer cancel()
	s := e.sending(t, listener, "nobody@example.net")
	if port != "" {
		s.port = port
	}
	s.login = e.login(t, "PLAIN")
	before := e.logins(t)
	told, failed := c.run(ctx, t, s)
	if c.anyHost && strings.HasPrefix(listener, "other") {
		if failed != nil {
			t.Errorf("%v: it looks at the name\n%.6000s", failed, told)
		}
		for range collect(ctx, t, e.taken, s.to) {
		}
		return answer(told)
	}
	if after := e.logins(t); failed == nil || answer(told) != "" || after != before {
		t.Errorf("the client ends with %v, the reply is %q, and there were %d AUTH, in\n%.6000s", failed, answer(told), after-before, told)
	}
	return "leaves"
}

// logins are how often somebody has shown credentials, by the metric.
func (e *entrance) logins(t *testing.T) int {
	t.Helper()
	response, err := http.Get("http://" + e.monitor + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	sum, lines := 0, bufio.NewScanner(response.Body)
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), "} "); found && strings.HasPrefix(name, "postern_auth_total{") {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	if sum == 0 || lines.Err() != nil {
		t.Fatalf("no logins are counted: %v", lines.Err())
	}
	return sum
}

// leavesStripped has a client connect by way of somebody who takes STARTTLS out.
func (e *entrance) leavesStripped(t *testing.T, c *mailClient) string {
	t.Helper()
	s := &stripper{to: net.JoinHostPort("127.0.0.1", e.ports["submission"])}
	port := s.listen(t)
	saw := e.leaves(t, c, "submission", port)
	for _, line := range s.commands() {
		if verb, _, _ := strings.Cut(line, " "); !strings.Contains("EHLO HELO STARTTLS QUIT RSET NOOP", strings.ToUpper(verb)) {
			t.Errorf("it says %q in clear", line)
		}
	}
	return saw
}

// stripper is somebody on the way who takes STARTTLS out of what a server offers, and
// answers it himself.
type stripper struct {
	to string

	mu   sync.Mutex
	said []string
}

// listen starts it for the length of the test, and returns its port.
func (s *stripper) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", harness.Loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			running.Go(func() { s.pass(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// pass passes replies and commands on, in turn, until one side goes.
func (s *stripper) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", s.to)
	if err != nil {
		return
	}
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		_ = c.SetDeadline(time.Now().Add(oneLogin))
	}
	commands, replies := bufio.NewReader(client), bufio.NewReader(server)
	for passReply(client, replies) == nil {
		line, err := commands.ReadString('\n')
		for err == nil && strings.EqualFold(strings.TrimSpace(line), "STARTTLS") {
			s.note(line)
			fmt.Fprint(client, "502 5.5.1 No such command\r\n")
			line, err = commands.ReadString('\n')
		}
		if err != nil {
			return
		}
		s.note(line)
		if _, err := io.WriteString(server, line); err != nil {
			return
		}
	}
}

// passReply passes a reply on without STARTTLS, which is never its last line.
func passReply(to io.Writer, replies *bufio.Reader) error {
	for {
		line, err := replies.ReadString('\n')
		if err != nil {
			return err
		}
		if line != "250-STARTTLS\r\n" {
			if _, err := io.WriteString(to, line); err != nil {
				return err
			}
		}
		if len(line) < 4 || line[3] != '-' {
			return nil
		}
	}
}

func (s *stripper) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, strings.TrimSpace(line))
}

// commands are the lines that clients have said.
func (s *stripper) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

// says sends commands in clear, in one segment, behind EHLO, and returns the reply, which must be the
// only one but for that to QUIT.
func (e *entrance) says(t *testing.T, listener, commands, want string) string {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", e.ports[listener]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(oneLogin))
	replies := bufio.NewReader(conn)
	reply := func() (all []string) {
		for {
			line, err := replies.ReadString('\n')
			if err != nil {
				t.Fatalf("after %q: %v", all, err)
			}
			if all = append(all, line); len(line) < 4 || line[3] != '-' {
				return all
			}
		}
	}
	reply()
	fmt.Fprint(conn, "EHLO client.example\r\n")
	if offer := strings.Join(reply(), ""); strings.Contains(offer, "AUTH") || !strings.Contains(offer, "STARTTLS") {
		t.Errorf("offered in clear: %q", offer)
	}
	before := e.logins(t)
	fmt.Fprint(conn, commands)
	got := strings.Join(reply(), "")
	if !strings.HasPrefix(got, want+" ") || e.logins(t) != before {
		t.Errorf("the reply to %q is %q", commands, got)
	}
	fmt.Fprint(conn, "QUIT\r\n")
	if rest, _ := io.ReadAll(replies); strings.Contains(string(rest), "250") {
		t.Errorf("behind it is %q", rest)
	}
	return strings.Join(strings.Fields(got)[:2], " ")
}

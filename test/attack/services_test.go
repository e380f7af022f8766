package attack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// get is a request of somebody who has a token.
const get = "GET %s HTTP/1.1\r\nHost: postern\r\nAuthorization: Bearer " + adminToken + "\r\n\r\n"

// services are attacks on what is beside SMTP.
var services = []attack{
	{name: "API: endless header", attackers: 10, memory: 40 * mib, files: 200, rounds: 50 * long(), addr: api, good: (*victim).goodAPI,
		once: pouring("GET /v1/status HTTP/1.1\r\n", "X-Fill: up\r\n")},
	{name: "API: endless body of a stranger", attackers: 10, memory: 40 * mib, files: 200, rounds: 50 * long(), addr: api, good: (*victim).goodAPI,
		once: pouring("POST /v1/queue/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n")},
	{name: "API: endless body", attackers: 10, memory: 60 * mib, files: 200, rounds: 50 * long(), addr: api, good: (*victim).goodAPI,
		once: pouring(posting("/v1/queue/count", "Transfer-Encoding: chunked"), "5\r\nhello\r\n")},
	{name: "API: slow strangers", attackers: 300, memory: 40 * mib, files: 300, addr: api, good: (*victim).goodAPI,
		once: slowly("", "GET /v1/status HTTP/1.1\r\nHost: x", "POST /v1/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nbody")},
	{name: "API: wrong tokens", attackers: 10, memory: 40 * mib, files: 200, rounds: 2000 * long(), addr: api, good: (*victim).goodAPI, once: wrongToken},
	{name: "API: deep and huge JSON", attackers: 10, memory: 200 * mib, files: 200, rounds: 100 * long(), addr: api, good: (*victim).goodAPI, once: strangeJSON},
	{name: "API: answers that are not read", attackers: 45, memory: 160 * mib, files: 200, addr: api, good: (*victim).goodAPI, once: deaf("/v1/journal", "/v1/queue")},
	{name: "socket: answers that are not read", attackers: 40, memory: 160 * mib, files: 200, addr: socket, good: (*victim).goodSocket, once: deaf("/v1/journal", "/v1/queue")},
	{name: "socket: slow requests", attackers: 150, memory: 40 * mib, files: 300, addr: socket, good: (*victim).goodSocket,
		once: slowly("", "GET /v1/status HTTP/1.1\r\nHost: x", "POST /v1/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nbody")},
	{name: "monitoring: endless header", attackers: 10, memory: 40 * mib, files: 200, rounds: 50 * long(), addr: monitoring, good: (*victim).goodMonitoring,
		once: pouring("GET /metrics HTTP/1.1\r\n", "X-Fill: up\r\n")},
	{name: "monitoring: slow requests", attackers: 100, memory: 40 * mib, files: 200, addr: monitoring, good: (*victim).goodMonitoring,
		once: slowly("", "GET /metrics HTTP/1.1\r\nHost: x", "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nbody")},
	{name: "monitoring: answers that are not read", attackers: 12, memory: 40 * mib, files: 200, addr: monitoring, good: (*victim).goodMonitoring, once: deaf("/metrics")},
	{name: "submission: endless command", attackers: 10, memory: 40 * mib, files: 100, rounds: 50 * long(), addr: submission, good: (*victim).goodSendmail,
		once: pouring("EHLO attacker.example\r\n", "NOOP")},
	{name: "submission: endless content", attackers: 10, memory: 60 * mib, files: 100, rounds: 50 * long(), addr: submission, good: (*victim).goodSendmail,
		once: pouring(strings.Join(toContent, "\r\n")+"\r\nDATA\r\n", "text\r\n")},
	{name: "submission: all places of a user taken", attackers: 150, memory: 40 * mib, files: 400, addr: submission, good: (*victim).goodSendmail, once: sitting},
	{name: "submission: files without sense", attackers: 2, memory: 60 * mib, files: 50, rounds: 20 * long(), addr: submission, good: (*victim).goodSendmail, once: junkFiles},
	{name: "submission: millions of recipients", attackers: 1, memory: 200 * mib, files: 50, rounds: 10 * long(), addr: submission, good: (*victim).goodSendmail, once: hugeSlip},
}

func api(v *victim) string        { return v.api }
func monitoring(v *victim) string { return v.metrics }
func socket(v *victim) string     { return filepath.Join(v.Data(), "admin.sock") }
func submission(v *victim) string { return filepath.Join(v.spool, "socket") }

// TestServices attacks what is beside SMTP: while it lasts mail flows, and who
// has business there is served.
func TestServices(t *testing.T) {
	v := newVictim(t)
	v.must(v.Start(t.Context()))
	v.stopAtEnd()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	v.serve(ctx, v.attacked)
	v.fill(ctx)
	for _, a := range services {
		t.Run(a.name, func(t *testing.T) {
			whole := v.t
			defer func() { v.t = whole }()
			v.t = t
			a.run(v)
		})
	}
	log, err := os.ReadFile(v.Log())
	v.must(err)
	if n := bytes.Count(log, []byte("without a valid token")); n > 10 {
		t.Errorf("the log tells of strangers %d times", n)
	}
}

// fill makes listings long: messages of many recipients, all held.
func (v *victim) fill(ctx context.Context) {
	v.t.Helper()
	v.must(v.Command(ctx, "suspend", "delivery", "--reason", "a long queue").Run())
	left := 20
	source := harness.Source{Addr: v.attacked, Sessions: 1, From: goodClient, Next: func() *harness.Message {
		if left--; left < 0 {
			return nil
		}
		m := &harness.Message{ID: fmt.Sprintf("filling-%d", left), From: "good@source.example", Content: harness.Header("filling", "a@source.example", "b@elsewhere.example")}
		for i := range 500 {
			m.To = append(m.To, fmt.Sprintf("filling-%d@elsewhere.example", i))
		}
		return m
	}}
	v.must(source.Run(ctx))
	v.must(v.Command(ctx, "queue", "hold", "--yes", "recipient ~ filling-*").Run())
	v.must(v.Command(ctx, "resume", "delivery").Run())
}

// goodAPI asks as somebody who has a token.
func (v *victim) goodAPI(ctx context.Context) error {
	return askWell(ctx, "http://"+v.api+"/v1/status", `"listeners"`)
}

// goodMonitoring asks as Prometheus does.
func (v *victim) goodMonitoring(ctx context.Context) error {
	return errors.Join(askWell(ctx, "http://"+v.metrics+"/readyz", "ok"), askWell(ctx, "http://"+v.metrics+"/metrics", "go_goroutines"))
}

// goodSocket asks as an operator does.
func (v *victim) goodSocket(ctx context.Context) error {
	out, err := v.Command(ctx, "status", "--json").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// goodSendmail sends as a program of this host does.
func (v *victim) goodSendmail(ctx context.Context) error {
	id := fmt.Sprintf("sent-%d", v.next.Add(1))
	command := v.Command(ctx, "sendmail", "-f", "good@source.example", "b@elsewhere.example")
	command.Args = command.Args[:len(command.Args)-2] // it has no configuration
	command.Env = append(os.Environ(), "POSTERN_SUBMISSION="+v.spool)
	command.Stdin = bytes.NewReader(append(harness.Header(id, "good@source.example", "b@elsewhere.example"), "Hello.\r\n"...))
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w %s", err, out)
	}
	return harness.Until(ctx, "what sendmail was given arrives", func() (bool, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.arrived[id] == 1, nil
	})
}

// askWell asks from the address of good clients, with a token, and wants a
// success with a text.
func askWell(ctx context.Context, url, want string) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: goodClient}}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: d.DialContext}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(want))) {
		err = fmt.Errorf("%s answers %s: %.200q", url, response.Status, text)
	}
	return err
}

// connect connects to a listener or a service from an address, and waits for nothing.
func (c *client) connect(ctx context.Context, from net.IP) error {
	var err error
	if strings.HasPrefix(c.addr, "/") {
		c.Conn, err = new(net.Dialer).DialContext(ctx, "unix", c.addr)
	} else {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
		c.Conn, err = d.DialContext(ctx, "tcp", c.addr)
	}
	if err != nil {
		return err
	}
	// What is closed in good order keeps its port for a minute, and there are 28,000.
	if tcp, is := c.Conn.(*net.TCPConn); is {
		err = tcp.SetLinger(0)
	}
	c.br = bufio.NewReader(c.Conn)
	context.AfterFunc(ctx, func() { c.Conn.Close() })
	return err
}

// attackerOne is where attacks on services come from: one client that wants
// all of it.
var attackerOne = net.IPv4(127, 0, 1, 1)

func posting(path, field string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: postern\r\nContent-Type: application/json\r\nAuthorization: Bearer " + adminToken + "\r\n" + field + "\r\n\r\n"
}

// pouring says something and then a text without end.
func pouring(begin, text string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, _ context.Context, c *client) error {
		if err := c.connect(ctx, attackerOne); err != nil {
			return err
		}
		c.ready()
		go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
		if _, err := io.WriteString(c, begin); err != nil {
			return nil // the server had enough
		}
		return c.pour(text, 64*mib)
	}
}

// slowly sends one of some texts, an octet now and then behind its begin.
func slowly(texts ...string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, hold context.Context, c *client) error {
		if err := c.connect(ctx, attackerOne); err != nil {
			return err
		}
		c.ready()
		text := texts[c.number%len(texts)]
		if _, err := io.WriteString(c, text); err != nil {
			return nil // there is no place for it
		}
		return c.dripUntil(hold, "x")
	}
}

// dripUntil is drip until somebody else is done. It then closes.
func (c *client) dripUntil(hold context.Context, text string) error {
	if err := c.drip(hold, text); err != nil && hold.Err() == nil {
		return err
	}
	// Who was hung up on at once tries again, but not without pause.
	select {
	case <-hold.Done():
	case <-time.After(100 * time.Millisecond):
	}
	return nil
}

func wrongToken(ctx, _ context.Context, c *client) error {
	if err := c.connect(ctx, attackerOne); err != nil {
		return err
	}
	defer c.Close()
	c.ready()
	_, err := fmt.Fprintf(c, "GET /v1/queue HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-that-is-wrong-%d\r\n\r\n", c.number)
	return wantStatus(c, err, http.StatusUnauthorized)
}

// wantStatus reads an answer. Who was hung up on has had none.
func wantStatus(c *client, err error, statuses ...int) error {
	if err != nil {
		return nil
	}
	response, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	for _, s := range statuses {
		if response.StatusCode == s {
			return nil
		}
	}
	text, _ := io.ReadAll(response.Body)
	return fmt.Errorf("answered %s: %.200q", response.Status, text)
}

// strangeJSON sends bodies that a parser may choke on; each is refused.
func strangeJSON(ctx, _ context.Context, c *client) error {
	if err := c.connect(ctx, attackerOne); err != nil {
		return err
	}
	defer c.Close()
	c.ready()
	quoted, err := json.Marshal(strings.Repeat("(", 200<<10))
	if err != nil {
		return err
	}
	bodies := []string{
		strings.Repeat("[", mib-1), strings.Repeat(`{"a":`, mib/5-1), `{"filter":` + string(quoted) + `,"change":{"kind":"hold"}}`,
		`{"filter":"` + strings.Repeat("not ", 60<<10) + `all","change":{"kind":"hold"}}`, `{"filter":"` + strings.Repeat("x", 2*mib) + `"}`,
		"[" + strings.Repeat("0,", mib/2-10) + "0]", strings.Repeat(" ", mib-1), `{"filter":"sender in (` + strings.Repeat(",", mib/2) + `)","change":{"kind":"hold"}}`,
	}
	body := bodies[c.number%len(bodies)]
	_, err = io.WriteString(c, posting("/v1/queue/count", fmt.Sprintf("Content-Length: %d", len(body)))+body)
	return wantStatus(c, err, http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge)
}

// deaf asks for some paths again and again, reads nothing, and stays.
func deaf(paths ...string) func(ctx, _ context.Context, c *client) error {
	return func(ctx, hold context.Context, c *client) error {
		if err := c.connect(ctx, attackerOne); err != nil {
			return err
		}
		defer c.Close()
		requests := []byte(strings.Repeat(fmt.Sprintf(get, paths[c.number%len(paths)]), 500))
		// What is closed in good order keeps its port for a minute, and there are 28,000.
		if tcp, is := c.Conn.(*net.TCPConn); is {
			if err := tcp.SetReadBuffer(4 << 10); err != nil {
				return err
			}
		}
		go func() {
			for {
				if _, err := c.Write(requests); err != nil {
					return
				}
			}
		}()
		c.ready()
		<-hold.Done()
		return nil
	}
}

// sitting is a program that takes a place and says nothing.
func sitting(ctx, hold context.Context, c *client) error {
	if err := c.connect(ctx, nil); err != nil {
		return err
	}
	c.ready()
	return c.dripUntil(hold, "")
}

// junkFiles leaves files that are no messages where sendmail leaves its own.
func junkFiles(_, _ context.Context, c *client) error {
	c.ready()
	drop := filepath.Join(filepath.Dir(c.addr), "drop")
	for i := range 100 {
		name := filepath.Join(drop, fmt.Sprintf("m-junk-%d-%d-%d", c.number, i, time.Now().UnixNano()))
		if err := os.WriteFile(name, []byte(strings.Repeat("{", 1000)), 0o640); err != nil {
			return err
		}
	}
	return nil
}

// hugeSlip leaves a message to as many recipients as there is room for.
func hugeSlip(_, _ context.Context, c *client) error {
	c.ready()
	slip := `{"postern":1,"sender":null,"recipients":[` + strings.Repeat(`"",`, 30*mib/3) + `""],"size":0,"crc32c":0}` + "\n"
	drop := filepath.Join(filepath.Dir(c.addr), "drop")
	name := fmt.Sprintf("slip-%d", time.Now().UnixNano())
	if err := os.WriteFile(filepath.Join(drop, "w-"+name), []byte(slip), 0o640); err != nil {
		return err
	}
	return os.Rename(filepath.Join(drop, "w-"+name), filepath.Join(drop, "m-"+name))
}

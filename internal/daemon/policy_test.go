package daemon

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
)

// refusal is a handler that refuses a sender.
func refusal(name, sender string) config.Handler {
	text := func(s string) config.Text { return config.Text{Text: s} }
	return config.Handler{
		Name: name, At: config.AtMail, Sender: []config.Text{text(sender)}, Default: config.EndAccept,
		Steps: []config.Step{{Name: text("reject"), Argument: &config.Argument{Text: text("550 5.7.1 By " + name)}}},
	}
}

// client says lines to a server, and reads the last line of each reply.
type client struct {
	t    *testing.T
	conn net.Conn
	from *bufio.Reader
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t, conn, bufio.NewReader(conn)}
	c.reply()
	return c
}

func (c *client) reply() string {
	c.t.Helper()
	for {
		line, err := c.from.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if len(line) > 3 && line[3] == ' ' {
			return strings.TrimSpace(line)
		}
	}
}

func (c *client) say(line string) string {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		c.t.Fatal(err)
	}
	return c.reply()
}

// TestPolicyAtReload: a session keeps the policy with which it began, the next one has
// that of the reload; a reload with wrong policy changes nothing, and says what is
// wrong.
func TestPolicyAtReload(t *testing.T) {
	c := settings(t, nowhere)
	c.Handlers = []config.Handler{refusal("first", "*@first.example")}
	r, s := reloadable(t, c)
	address := r.addresses()[c.Listeners[0].Name].Address
	before := dial(t, address)
	before.say("EHLO client.example")
	s.set(c, func(c *config.Config) { c.Handlers = []config.Handler{refusal("second", "*@second.example")} })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	after := dial(t, address)
	after.say("EHLO client.example")
	for _, x := range []struct {
		who  *client
		from string
		want string
	}{
		{before, "a@first.example", "550 5.7.1 By first"}, {before, "a@second.example", "250 "},
		{after, "a@first.example", "250 "}, {after, "a@second.example", "550 5.7.1 By second"},
	} {
		if got := x.who.say("MAIL FROM:<" + x.from + ">"); !strings.HasPrefix(got, x.want) {
			t.Errorf("from %s: %s, want %s", x.from, got, x.want)
		}
		x.who.say("RSET")
	}
	s.set(c, func(c *config.Config) {
		wrong := refusal("wrong", "*@x.example")
		wrong.When = config.Text{Text: "smtp.mail.form == 1", Place: mail.Place{File: "f", Line: 7, Column: 8}}
		tie := refusal("tie", "*@x.example")
		tie.When = config.Text{Text: `smtp.mail.from == ""`}
		c.Handlers = []config.Handler{wrong, tie}
	})
	if _, err := r.Reload("test"); err == nil || !strings.Contains(err.Error(), "f:7:8: handler.when: ") || !strings.Contains(err.Error(), "smtp.mail.from") {
		t.Errorf("reloaded: %v", err)
	}
	if got := after.say("MAIL FROM:<a@second.example>"); got != "550 5.7.1 By second" {
		t.Errorf("after a reload that failed: %s", got)
	}
	r.end(t)
}

// TestCheckOfPolicy: all that is wrong in policy is found by a check, with what is wrong
// elsewhere.
func TestCheckOfPolicy(t *testing.T) {
	c, file := listed(t, "x y\n")
	wrong := refusal("wrong", "*@x.example")
	wrong.When = config.Text{Text: `listed("partners", smtp.mail.from) && listed("partnres", smtp.mail.from)`, Place: mail.Place{File: "f", Line: 7, Column: 8}}
	c.Handlers = []config.Handler{wrong}
	var found []string
	for _, p := range Check(c, Options{}).Problems {
		found = append(found, p.String())
	}
	if len(found) != 2 || !strings.HasPrefix(found[0], file+":1:3: ") || !strings.Contains(found[1], "partnres") || !strings.HasPrefix(found[1], "f:7:8: ") {
		t.Errorf("found %q", found)
	}
}

package mailtest

import (
	"encoding/base64"
	"strings"
)

func (c *sinkConn) mechanisms() []string {
	if c.sink.options.Mechanisms != nil {
		return c.sink.options.Mechanisms
	}
	return []string{"PLAIN", "LOGIN"}
}

// auth answers AUTH as RFC 4954 has it, with PLAIN and LOGIN.
func (c *sinkConn) auth(line string) {
	words := strings.Fields(line)
	var user, password string
	switch {
	case len(words) > 1 && words[1] == "PLAIN":
		response := ""
		if len(words) > 2 {
			response = decode64(words[2])
		} else {
			response = c.challenge("")
		}
		fields := strings.Split(response, "\x00")
		if len(fields) == 3 && fields[0] == "" {
			user, password = fields[1], fields[2]
		}
	case len(words) == 2 && words[1] == "LOGIN":
		user = c.challenge("Username:")
		password = c.challenge("Password:")
	default:
		c.reply("504 5.5.4 Unknown mechanism")
		return
	}
	if known, is := c.sink.options.Passwords[user]; !c.tls || !is || known != password {
		c.reply("535 5.7.8 Credentials invalid")
		return
	}
	c.user = user
	c.reply("235 2.7.0 Welcome")
}

// challenge asks for a line and returns it decoded.
func (c *sinkConn) challenge(prompt string) string {
	c.reply("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
	if c.bw.Flush() != nil {
		return ""
	}
	line, err := c.br.ReadString('\n')
	if err != nil {
		return ""
	}
	return decode64(strings.TrimRight(line, "\r\n"))
}

// decode64 returns what s stands for, and "" if that is nothing.
func decode64(s string) string {
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return string(text)
}

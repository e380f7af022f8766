package mailtest

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

func (s *Sink) hasUsers() bool { return s.options.Passwords != nil || s.options.Tokens != nil }

func (c *sinkConn) mechanisms() []string {
	switch {
	case c.sink.options.Mechanisms != nil:
		return c.sink.options.Mechanisms
	case c.sink.options.Tokens != nil:
		return []string{"OAUTHBEARER", "XOAUTH2"}
	}
	return []string{"PLAIN", "LOGIN"}
}

// auth answers AUTH as RFC 4954 has it, by the mechanisms that are offered.
func (c *sinkConn) auth(line string) {
	words := append(strings.Fields(line), "", "")
	mechanism, initial := words[1], words[2]
	if !slices.Contains(c.mechanisms(), mechanism) {
		c.reply("504 5.5.4 Unknown mechanism")
		return
	}
	user, ok := "", false
	switch {
	case mechanism == "PLAIN":
		fields := strings.Split(c.first(initial), "\x00")
		if len(fields) == 3 && fields[0] == "" {
			user, ok = fields[1], c.knows(fields[1], fields[2])
		}
	case mechanism == "LOGIN":
		user = c.challenge("Username:")
		ok = c.knows(user, c.challenge("Password:"))
	case strings.HasPrefix(mechanism, "SCRAM-"):
		user, ok = c.scram(mechanism, c.first(initial))
	default:
		user, ok = c.bearer(mechanism, c.first(initial))
	}
	if !ok || !c.tls && !c.sink.options.AuthInClear {
		c.reply("535 5.7.8 Credentials invalid")
		return
	}
	c.user = user
	c.reply("235 2.7.0 Welcome")
}

func (c *sinkConn) knows(user, password string) bool {
	known, is := c.sink.options.Passwords[user]
	return is && known == password
}

// first returns the initial response, which may be in the command.
func (c *sinkConn) first(initial string) string {
	if initial == "" {
		return c.challenge("")
	}
	return decode64(initial)
}

// scram is the server of RFC 5802, with tls-exporter and tls-unique as bindings.
func (c *sinkConn) scram(mechanism, message string) (user string, ok bool) {
	hash := scram.SHA256
	if strings.HasPrefix(mechanism, "SCRAM-SHA-1") {
		hash = scram.SHA1
	}
	server, err := hash.NewServer(func(name string) (scram.StoredCredentials, error) {
		password, known := c.sink.options.Passwords[name]
		if !known {
			return scram.StoredCredentials{}, errors.New("unknown")
		}
		client, err := hash.NewClient(name, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "saltsalt", Iters: 4096})
	})
	if err != nil {
		return "", false
	}
	x := server.NewConversation()
	if slices.Contains(c.mechanisms(), strings.TrimSuffix(mechanism, "-PLUS")+"-PLUS") {
		x = server.NewConversationWithChannelBinding(c.binding(message))
	}
	for !x.Done() {
		answer, err := x.Step(message)
		if err != nil {
			return "", false
		}
		message = c.challenge(answer)
	}
	return x.Username(), x.Valid()
}

// binding is that of this connection which the client names.
func (c *sinkConn) binding(message string) scram.ChannelBinding {
	if c.secured == nil {
		return scram.ChannelBinding{}
	}
	state := c.secured.ConnectionState()
	if strings.HasPrefix(message, "p=tls-unique,") {
		return scram.NewTLSUniqueBinding(state.TLSUnique)
	}
	binding, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		return scram.ChannelBinding{}
	}
	return binding
}

// bearer is OAUTHBEARER (RFC 7628) or XOAUTH2: a token that is wrong is told in a challenge
// first.
func (c *sinkConn) bearer(mechanism, message string) (user string, ok bool) {
	user, token := bearerFields(mechanism, message)
	if c.sink.options.Tokens == nil {
		return "", false
	}
	if c.sink.options.Tokens(user, token) == nil {
		return user, true
	}
	c.challenge(`{"status":"invalid_token","schemes":"bearer","scope":"mail"}`)
	return "", false
}

// bearerFields are the user and the token in an initial response.
func bearerFields(mechanism, message string) (user, token string) {
	parts := strings.Split(message, "\x01")
	if mechanism == "OAUTHBEARER" {
		user, _ = strings.CutPrefix(strings.TrimSuffix(parts[0], ","), "n,a=")
	}
	for _, part := range parts {
		if name, is := strings.CutPrefix(part, "user="); is && mechanism == "XOAUTH2" {
			user = name
		}
		if value, is := strings.CutPrefix(part, "auth=Bearer "); is {
			token = value
		}
	}
	return user, token
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

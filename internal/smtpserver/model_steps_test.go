package smtpserver

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// modelSteps are all that a client can do, and all that can fail as it does.
// Each is tried in each state.
func modelSteps() []*step {
	steps := slices.Concat(commandSteps(), contentSteps(), authSteps(), failingSteps())
	for _, s := range steps {
		if s.say == "" && s.verb != "" {
			s.say = s.verb + "\r\n"
		}
		if s.name == "" {
			s.name = strings.TrimSpace(fmt.Sprintf("%.40q", strings.TrimRight(s.say, "\r\n")))
		}
		if s.verb == "BDAT" && s.form != malformed {
			last := ""
			if s.last {
				last = " LAST"
			}
			s.say = fmt.Sprintf("BDAT %d%s\r\n", len(s.content), last)
		}
	}
	return steps
}

// commandSteps are steps without content in which the handler does its part.
func commandSteps() []*step {
	return []*step{
		{verb: "EHLO", say: "EHLO client.test\r\n"},
		{verb: "HELO", say: "HELO client.test\r\n"},
		{verb: "EHLO", form: malformed, say: "EHLO \r\n"},
		{verb: "HELO", form: malformed, say: "HELO\r\n"},
		{verb: "MAIL", say: "MAIL FROM:<joe@example.com>\r\n"},
		{verb: "MAIL", form: utf8, say: "MAIL FROM:<joe@example.com> SMTPUTF8\r\n"},
		{verb: "MAIL", form: demanding, say: "MAIL FROM:<joe@example.com> REQUIRETLS\r\n"},
		{verb: "MAIL", form: large, say: "MAIL FROM:<joe@example.com> SIZE=101\r\n"},
		{verb: "MAIL", form: malformed, say: "MAIL FROM:<joe@>\r\n"},
		{verb: "MAIL", form: unreadable, say: "MAIL FROM:<joe\x01@example.com>\r\n"},
		{verb: "RCPT", say: "RCPT TO:<ann@example.net>\r\n"},
		{verb: "RCPT", form: utf8, say: "RCPT TO:<jörg@example.net>\r\n"},
		{verb: "RCPT", form: malformed, say: "RCPT TO:<>\r\n"},
		{verb: "RCPT", form: unreadable, say: "RCPT TO:<\xff@example.net>\r\n"},
		{verb: "DATA", form: malformed, say: "DATA now\r\n"},
		{verb: "RSET", form: malformed, say: "RSET now\r\n"},
		{verb: "QUIT", form: malformed, say: "QUIT now\r\n"},
		{verb: "RSET"}, {verb: "NOOP"}, {verb: "HELP"}, {verb: "QUIT"},
		{verb: "VRFY", say: "VRFY joe\r\n"},
		{verb: "VRFY", say: "VRFY jörg@example.net SMTPUTF8\r\n", form: utf8},
		{verb: "EXPN", say: "EXPN list\r\n"},
		{verb: "XYZZY"},
		{form: unreadable, say: "NOOP\n"},
		{form: unreadable, say: "NOOP " + strings.Repeat("x", 3000) + "\r\n"},
		{form: unreadable, say: "\r\n"},
		{form: foreign, say: "Subject: hi\r\n"},
		{form: foreign, verb: "GET", say: "GET / HTTP/1.1\r\n"},
		{verb: "STARTTLS", act: secures},
		{verb: "STARTTLS", act: spoils, name: "STARTTLS and no handshake"},
		{verb: "STARTTLS", act: overtakes, say: "STARTTLS\r\nNOOP\r\n"},
		{act: silent, name: "silence"},
		{act: gone, name: "the end of the connection"},
	}
}

// authSteps are those of AUTH.
func authSteps() []*step {
	const plain, login = "AUTH PLAIN\r\n", "AUTH LOGIN\r\n"
	long := strings.Repeat("AAAA", 3000)
	return []*step{
		{verb: "AUTH", say: "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n"},
		{verb: "AUTH", say: "AUTH PLAIN =\r\n"},
		{verb: "AUTH", say: "AUTH PLAIN " + long + "\r\n", name: "AUTH with a long response"},
		{verb: "AUTH", say: plain, answers: []string{"AGpvZQBzZWNyZXQ=\r\n"}},
		{verb: "AUTH", say: plain, answers: []string{long + "\r\n"}, name: "AUTH and a long response"},
		{verb: "AUTH", say: login, answers: []string{"am9l\r\n", "\r\n"}},
		{verb: "AUTH", say: "auth login am9l\r\n", answers: []string{"c2VjcmV0\r\n"}},
		{verb: "AUTH", form: malformed, say: login, answers: []string{"am9l\r\n", "*\r\n"}, name: "AUTH that is cancelled"},
		{verb: "AUTH", form: malformed, say: login, answers: []string{"NOOP x\r\n"}, name: "AUTH and a command"},
		{verb: "AUTH", form: malformed, say: plain, answers: []string{"=\r\n"}, name: "AUTH and ="},
		{verb: "AUTH", form: endless, say: plain, answers: []string{strings.Repeat("A", 13000) + "\r\n"}, name: "AUTH and a line too long"},
		{verb: "AUTH", form: endless, say: plain, answers: []string{"AAAA\n"}, name: "AUTH and a bare LF"},
		{verb: "AUTH", form: malformed},
		{verb: "AUTH", form: malformed, say: "AUTH PLAIN x\r\n"},
		{verb: "AUTH", form: unknown, say: "AUTH CRAM-MD5\r\n"},
		{verb: "AUTH", act: overtakes, say: "AUTH PLAIN AA==\r\nNOOP\r\n"},
		{verb: "AUTH", act: silent, say: login, answers: []string{"am9l\r\n", ""}, name: "AUTH and silence"},
		{verb: "AUTH", act: gone, say: login, answers: []string{"am9l\r\n", ""}, name: "AUTH and the end of the connection"},
		{form: unreadable, say: "AUTH PLAIN " + strings.Repeat("A", 13000) + "\r\n"},
	}
}

// contentSteps are steps with content.
func contentSteps() []*step {
	line := strings.Repeat("x", 38) + "\r\n"
	return []*step{
		{verb: "DATA", content: line, name: "DATA"},
		{verb: "DATA", content: line + line + line, name: "DATA, too large"},
		{verb: "DATA", content: "a\nb\r\n", name: "DATA with a bare LF"},
		{verb: "DATA", content: "a\x00b\r\n", name: "DATA with NUL"},
		{verb: "DATA", content: line, act: silent, name: "DATA and silence"},
		{verb: "DATA", content: line, act: gone, name: "DATA and the end of the connection"},
		{verb: "BDAT", content: line, name: "BDAT"},
		{verb: "BDAT", content: line, last: true, name: "BDAT LAST"},
		{verb: "BDAT", last: true, name: "BDAT 0 LAST"},
		{verb: "BDAT", content: line + line + line, name: "BDAT, too large"},
		{verb: "BDAT", content: "a\nb", name: "BDAT with a bare LF"},
		{verb: "BDAT", content: "a\x00b", name: "BDAT with NUL"},
		{verb: "BDAT", content: strings.Repeat("x", 39) + "\r", name: "BDAT that ends with CR"},
		{verb: "BDAT", content: "\n" + line[1:], name: "BDAT that begins with LF"},
		{verb: "BDAT", content: "\rQUIT\r\n", last: true, name: "BDAT LAST with a bare CR and a command"},
		{verb: "BDAT", content: line, act: silent, name: "BDAT and silence"},
		{verb: "BDAT", content: line, act: gone, name: "BDAT and the end of the connection"},
		{verb: "BDAT", form: malformed, say: "BDAT 9x LAST\r\n"},
	}
}

// failingSteps are steps in which the handler refuses, hangs up, makes no
// sense or panics. NoReply is a store that has failed.
func failingSteps() []*step {
	refuse, later := mail.NewReply(550, "5.7.1", "No"), mail.NewReply(451, "4.3.0", "Later")
	leave, hangUp := mail.NewReply(421, "4.3.2", "Go"), mail.Reply{Code: mail.NoReply}
	var panics mail.Reply
	var steps []*step
	add := func(like step, at string, replies ...mail.Reply) {
		for _, r := range replies {
			s := like
			s.at, s.reply = at, r
			s.name = fmt.Sprintf("%s, %s says %d", strings.TrimSpace(s.verb+" "+s.name), at, r.Code)
			steps = append(steps, &s)
		}
	}
	content := strings.Repeat("x", 38) + "\r\n"
	add(step{verb: "EHLO", say: "EHLO client.test\r\n"}, "Hello", refuse, later, leave, hangUp, panics)
	add(step{verb: "MAIL", say: "MAIL FROM:<joe@example.com>\r\n"}, "Mail", refuse, later, leave, hangUp, panics)
	add(step{verb: "RCPT", say: "RCPT TO:<ann@example.net>\r\n"}, "Rcpt", refuse, later, leave, hangUp, panics)
	nonsense := []mail.Reply{mail.NewReply(250, "2.0.0", "Ok"), mail.NewReply(334, "", "Go on")}
	for _, like := range []step{{verb: "DATA", content: content}, {verb: "BDAT", content: content}, {verb: "BDAT", content: content, last: true, name: "LAST"}} {
		add(like, "Data", append(nonsense, refuse, later, leave, hangUp, panics)...)
		add(like, "Content", nonsense[1], refuse, later, leave, hangUp, panics)
		like.unread = true
		like.name += " unread"
		add(like, "Content", later, hangUp)
	}
	for _, verb := range []string{"RSET", "QUIT"} {
		add(step{verb: verb}, verb, later, leave, hangUp, panics)
		add(step{verb: verb}, "Content", refuse, hangUp, panics)
	}
	add(step{verb: "EHLO", say: "EHLO client.test\r\n"}, "Content", hangUp)
	add(step{verb: "STARTTLS", act: secures}, "STARTTLS", mail.NewReply(454, "4.7.0", "Not now"), leave, hangUp, panics)
	begin := step{verb: "AUTH", say: "AUTH PLAIN AA==\r\n"}
	add(begin, "Authenticate", refuse, later, leave, hangUp, panics)
	add(begin, "Next", append(nonsense, refuse, later, leave, hangUp, panics)...)
	begin = step{verb: "AUTH", say: "AUTH PLAIN\r\n", name: "in two lines", answers: []string{"AA==\r\n"}}
	add(begin, "Next", refuse, leave, hangUp, panics)
	for _, verb := range []string{"NOOP", "HELP", "XYZZY"} {
		add(step{verb: verb}, verb, later, leave, hangUp, panics)
	}
	add(step{verb: "VRFY", say: "VRFY joe\r\n"}, "VRFY", refuse, leave, hangUp, panics)
	return steps
}

package peers

import (
	"net/url"
	"path/filepath"
	"strings"
)

// sending is one mail that is to be sent by a client, as files.
type sending struct {
	host, port string
	ca         string // a file of roots; "" without TLS
	implicit   bool   // TLS from the first octet
	login      login  // zero: it says nothing of who it is
	text       string // what stands in the message
	attachment string // "" without
	message    string // the whole message, with CRLF
	unix       string // with LF
	dialogue   string // the commands that send it, with CRLF
	recipients string // one a line
	to         []string
}

// login is how a client proves who it is.
type login struct {
	mechanism    string
	user, secret string // a password or token; "" where the certificate is it
	secretFile   string // the same as a file, without a line end
	certificate  string // a file with it and its key; "" without
	oldTLS       bool   // TLS 1.2, for a client that can be told
}

// token says that the secret is one.
func (l *login) token() bool { return strings.Contains(l.mechanism, "OAUTH") }

// account is user and secret as a URL has them.
func (l *login) account() string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	if l.secret == "" {
		return escape(l.user) + "@"
	}
	return escape(l.user) + ":" + escape(l.secret) + "@"
}

// scheme is that of a URL.
func (s *sending) scheme() string {
	if s.implicit {
		return "smtps://"
	}
	return "smtp://"
}

// script are the arguments of the scripts that pass a message on.
func (s *sending) script(file string) []string {
	return append([]string{filepath.Join("testdata", "clients", file), s.host, s.port, s.ca, s.message, s.recipients}, s.proof()...)
}

// proof are the last arguments of each script.
func (s *sending) proof() []string {
	mode := "starttls"
	if s.implicit {
		mode = "implicit"
	}
	return []string{mode, s.login.mechanism, s.login.user, s.login.secret, s.login.certificate}
}

// mailClient is a program that people send mail with. One that composes the
// message itself is judged by what is in it; what others send must arrive octet
// by octet.
type mailClient struct {
	name, program string
	composes      bool
	adds          string // with which it ends the content
	library       string // a file of what the program needs
	optional      bool   // what it needs is too large for every machine
	mechanisms    []string
	onlySTARTTLS  bool // it knows no other TLS
	anyHost       bool // it does not compare the certificate with the name of the server
	arguments     func(*sending) []string
	input         func(*sending) string // a file; nil: none
	output        string                // the file in its home that tells what was said; "": it prints that
}

var mailClients = []mailClient{
	{name: "swaks", program: "swaks", adds: "\r\n", anyHost: true, mechanisms: []string{"PLAIN", "LOGIN", byCertificate}, arguments: swaksArguments},
	{name: "msmtp", program: "msmtp", mechanisms: []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"},
		input: func(s *sending) string { return s.unix }, arguments: msmtpArguments},
	{name: "curl", program: "curl", mechanisms: []string{"PLAIN", "LOGIN", "EXTERNAL", "OAUTHBEARER"}, arguments: curlArguments},
	{name: "Python smtplib", program: "python3", mechanisms: []string{"PLAIN", "LOGIN", "XOAUTH2"},
		arguments: func(s *sending) []string { return s.script("send_smtplib.py") }},
	{name: "Python asyncio", program: "python3", mechanisms: []string{"PLAIN", "LOGIN", "EXTERNAL"},
		arguments: func(s *sending) []string { return s.script("asyncio_raw.py") }},
	{name: "Perl Net::SMTP", program: "perl", library: "/usr/share/perl5/Authen/SASL.pm", mechanisms: []string{"PLAIN", "LOGIN", "EXTERNAL"},
		arguments: func(s *sending) []string { return s.script("net_smtp.pl") }},
	{name: "nodemailer", program: "node", library: "/usr/share/nodejs/nodemailer", mechanisms: []string{"PLAIN", "LOGIN", "XOAUTH2"},
		arguments: func(s *sending) []string { return s.script("nodemailer.js") }},
	{name: "JavaMail", program: "javac", library: "/usr/share/java/javax.mail.jar", optional: true, arguments: func(s *sending) []string {
		arguments := append([]string{"-cp", "/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar"}, s.script("Send.java")...)
		return append([]string{"java"}, arguments...)
	}},
	{name: "PHPMailer", program: "php", library: "/usr/share/php/libphp-phpmailer", composes: true, mechanisms: []string{"PLAIN", "LOGIN", "XOAUTH2"},
		arguments: func(s *sending) []string {
			arguments := []string{"-d", "memory_limit=512M", "testdata/clients/phpmailer.php", s.host, s.port, s.ca, s.text, s.attachment, s.recipients}
			return append(arguments, s.proof()...)
		}},
	{name: "mutt", program: "mutt", composes: true, mechanisms: []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2"}, output: ".muttdebug0",
		input: func(s *sending) string { return s.text }, arguments: muttArguments},
	{name: "s-nail", program: "s-nail", composes: true, mechanisms: []string{"PLAIN", "LOGIN", "EXTERNAL", "XOAUTH2"},
		input: func(s *sending) string { return s.text }, arguments: snailArguments},
}

// byCertificate is no mechanism: the client shows its certificate, and says nothing.
const byCertificate = "certificate"

func swaksArguments(s *sending) []string {
	arguments := []string{"--server", s.host, "--port", s.port, "--from", "sender@example.org", "--to", strings.Join(s.to, ","), "--pipeline", "--data", "@" + s.message}
	if s.ca != "" {
		arguments = append(arguments, "--tls-verify", "--tls-ca-path", s.ca)
		if s.implicit {
			arguments = append(arguments, "--tls-on-connect")
		} else {
			arguments = append(arguments, "--tls")
		}
	}
	if s.login.certificate != "" {
		arguments = append(arguments, "--tls-cert", s.login.certificate, "--tls-key", s.login.certificate)
	}
	if s.login.secret != "" {
		arguments = append(arguments, "--auth", s.login.mechanism, "--auth-user", s.login.user, "--auth-password", s.login.secret)
	}
	return arguments
}

func msmtpArguments(s *sending) []string {
	arguments := []string{"--debug", "--file=/dev/null", "--host=" + s.host, "--port=" + s.port, "--from=sender@example.org"}
	switch {
	case s.ca == "":
		arguments = append(arguments, "--tls=off")
	case s.implicit:
		arguments = append(arguments, "--tls=on", "--tls-starttls=off", "--tls-trust-file="+s.ca)
	default:
		arguments = append(arguments, "--tls=on", "--tls-starttls=on", "--tls-trust-file="+s.ca)
	}
	if s.login.mechanism != "" {
		arguments = append(arguments, "--auth="+strings.ToLower(s.login.mechanism), "--user="+s.login.user)
	}
	if s.login.secret != "" {
		arguments = append(arguments, "--passwordeval=cat "+s.login.secretFile)
	}
	if s.login.certificate != "" {
		arguments = append(arguments, "--tls-cert-file="+s.login.certificate, "--tls-key-file="+s.login.certificate)
	}
	return append(append(arguments, "--"), s.to...)
}

func curlArguments(s *sending) []string {
	arguments := []string{"--silent", "--show-error", "--verbose", s.scheme() + s.host + ":" + s.port + "/client.example", "--mail-from", "sender@example.org", "--upload-file", s.message}
	for _, to := range s.to {
		arguments = append(arguments, "--mail-rcpt", to)
	}
	if s.ca != "" {
		arguments = append(arguments, "--ssl-reqd", "--cacert", s.ca)
	}
	if s.login.certificate != "" {
		arguments = append(arguments, "--cert", s.login.certificate)
	}
	switch {
	case s.login.mechanism == "":
		return arguments
	case s.login.token():
		arguments = append(arguments, "--user", s.login.user+":", "--oauth2-bearer", s.login.secret)
	default:
		arguments = append(arguments, "--user", s.login.user+":"+s.login.secret)
	}
	return append(arguments, "--login-options", "AUTH="+s.login.mechanism)
}

func muttArguments(s *sending) []string {
	set := "set copy=no from=sender@example.org use_envelope_from=yes charset=utf-8 send_charset=utf-8 "
	if s.ca == "" {
		set += "ssl_force_tls=no ssl_starttls=no"
	} else {
		set += "ssl_force_tls=yes ssl_starttls=yes certificate_file=" + s.ca
	}
	account := ""
	if s.login.mechanism != "" {
		account = s.login.account()
		set += " smtp_authenticators=" + strings.ToLower(s.login.mechanism)
	}
	if s.login.token() {
		set += " smtp_oauth_refresh_command='cat " + s.login.secretFile + "'"
	}
	arguments := []string{"-d", "2", "-n", "-F", "/dev/null", "-e", set, "-e", "set smtp_url=" + s.scheme() + account + s.host + ":" + s.port + "/", "-s", "Grüße"}
	if s.attachment != "" {
		arguments = append(arguments, "-a", s.attachment)
	}
	return append(append(arguments, "--"), s.to...)
}

func snailArguments(s *sending) []string {
	account, how := "", "none"
	if s.login.mechanism != "" {
		account, how = s.login.account(), strings.ToLower(s.login.mechanism)
	}
	if how == "xoauth2" { // which is what it says then
		how = "oauthbearer"
	}
	// It knows no certificate of an address.
	arguments := []string{"-:/", "-vv", "-S", "v15-compat", "-S", "mta=" + s.scheme() + account + "localhost:" + s.port, "-S", "smtp-auth=" + how, "-S", "ttycharset=utf-8",
		"-S", "DEAD=/dev/null", "-S", "sendcharsets=utf-8", "-S", "hostname=client.example", "-r", "sender@example.org", "-s", "Grüße"}
	if s.ca != "" {
		arguments = append(arguments, "-S", "tls-ca-file="+s.ca, "-S", "tls-verify=strict")
	}
	if s.ca != "" && !s.implicit {
		arguments = append(arguments, "-S", "smtp-use-starttls")
	}
	if s.login.certificate != "" {
		arguments = append(arguments, "-S", "tls-config-pairs=Certificate="+s.login.certificate+",PrivateKey="+s.login.certificate)
	}
	if s.attachment != "" {
		arguments = append(arguments, "-a", s.attachment)
	}
	return append(arguments, s.to...)
}

// gsasl is GNU SASL's own client. It authenticates, and then sends what it is given.
var gsasl = mailClient{name: "gsasl", program: "gsasl", onlySTARTTLS: true,
	mechanisms: []string{"SCRAM-SHA-256-PLUS", oldPlus, "SCRAM-SHA-256", "EXTERNAL", "PLAIN", "LOGIN"},
	input:      func(s *sending) string { return s.dialogue },
	// It does STARTTLS because that is offered. Told to, it would do it before EHLO.
	arguments: func(s *sending) []string {
		arguments := []string{"--verbose", "--smtp", "--connect=" + s.host + ":" + s.port, "--x509-ca-file=" + s.ca,
			"--mechanism=" + s.login.mechanism, "--authentication-id=" + s.login.user}
		if s.login.oldTLS {
			arguments = append(arguments, "--priority=NORMAL:-VERS-TLS1.3")
		}
		if s.login.mechanism == "SCRAM-SHA-256" { // else it says that it could be bound, and -PLUS was not offered
			arguments = append(arguments, "--no-cb")
		}
		if s.login.secret != "" {
			arguments = append(arguments, "--password="+s.login.secret)
		}
		if s.login.certificate != "" {
			arguments = append(arguments, "--x509-cert-file="+s.login.certificate, "--x509-key-file="+s.login.certificate, "--authorization-id="+s.login.user)
		}
		return arguments
	},
}

// oldPlus is SCRAM-SHA-256-PLUS as it is bound to a connection of TLS 1.2.
const oldPlus = "SCRAM-SHA-256-PLUS, TLS 1.2"

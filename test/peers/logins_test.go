package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/certs"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// Who there is. The name has what a URL must quote, and the password what shells,
// Base64 and URLs make something else of; some clients know ASCII only.
const (
	joe           = "joe@example.com"
	joesPassword  = `hunter2 +/=%40"\$x`
	otherPassword = `Hunter2 +/=%40"\$x`
)

// Listeners are in pairs: one for STARTTLS, and one whose name ends so for TLS from the
// first octet.
const implicitSuffix = "-implicit"

// entrance is the real binary with users, who come in by several listeners.
type entrance struct {
	*harness.Postern
	dir     string
	ports   map[string]string // of the listeners
	roots   string            // the file with the authority of their certificates
	monitor string            // an address
	token   string            // joe's
	over    time.Time         // when the certificate of "expired" is
	taken   chan harness.Arrival
}

// expiring is how long the certificate of the listener "expired" is good. Postern does not start
// with one that is over; the clients that shall see it so wait.
const expiring = 45 * time.Second

// certificatesOf are the certificates by the listeners that have them.
func certificatesOf() map[string]certs.Options {
	here := certs.Options{Names: []string{"localhost"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	expired := here
	expired.Lifetime = expiring
	return map[string]certs.Options{"submission": here, "expired": expired, "other": {Names: []string{"mail.example.org"}}}
}

// openEntrance starts it with its users, and an issuer of tokens.
func openEntrance(ctx context.Context, t *testing.T) *entrance {
	t.Helper()
	e := &entrance{dir: directory(t), ports: map[string]string{}, taken: make(chan harness.Arrival, 10)}
	sink := startSink(t, func(a *harness.Arrival) string {
		kept := *a // the sink goes on to use what a has
		kept.Content, kept.To = bytes.Clone(a.Content), slices.Clone(a.To)
		e.taken <- kept
		return ""
	})
	issuer := e.startIssuer(ctx, t)
	e.monitor = harness.Loopback(freePort(t))
	settings := fmt.Sprintf("[auth]\ndelay = \"0s\"\n[log]\nlevel = \"debug\"\n[monitoring]\naddress = %q\n%s", e.monitor, issuer.Settings(""))
	binary := buildPostern(ctx, t)
	settings += e.listeners(t)
	e.over = time.Now().Add(expiring + 2*time.Second) // its end is in whole seconds, and GnuTLS takes the last one for good
	var err error
	e.Postern, err = harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(e.dir, "instance"), NextHop: sink.Addr(), Settings: settings})
	start(ctx, t, e.Postern, err)
	e.say(ctx, t, joesPassword+"\n", "user", "add", joe, "--address", "sender@example.org", "--password", "--certificate", e.certificate(ctx, t, "joe"))
	return e
}

// startIssuer starts an issuer, and has joe log in at it.
func (e *entrance) startIssuer(ctx context.Context, t *testing.T) *harness.Issuer {
	t.Helper()
	binary, err := harness.BuildIssuer(ctx, e.dir)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := mailtest.ServerTLS(t, "127.0.0.1")
	certificate, key := filepath.Join(e.dir, "issuer.pem"), filepath.Join(e.dir, "issuer.key")
	write(t, certificate, mailtest.CertificatePEM(config))
	write(t, key, mailtest.KeyPEM(t, config))
	issuer, err := harness.StartIssuer(binary, certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Stop(); err != nil {
			t.Error(err)
		}
	})
	tokens, err := issuer.Login(ctx, "joe")
	if err != nil {
		t.Fatal(err)
	}
	e.token = tokens.Access
	return issuer
}

// listeners are the settings of the listeners, with certificates of an authority of their own.
func (e *entrance) listeners(t *testing.T) string {
	t.Helper()
	authority, err := certs.NewAuthority("clients", certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, _ := pemFiles(t, authority)
	e.roots = filepath.Join(e.dir, "authority.pem")
	write(t, e.roots, root)
	settings := ""
	for name, o := range certificatesOf() {
		made, err := certs.Issue(&authority, o)
		if err != nil {
			t.Fatal(err)
		}
		settings += e.pair(t, name, made)
	}
	return settings
}

// pair are the settings of a pair of listeners with a certificate.
func (e *entrance) pair(t *testing.T, name string, made tls.Certificate) string {
	t.Helper()
	certificate, key := pemFiles(t, made)
	files := [2]string{filepath.Join(e.dir, name+".pem"), filepath.Join(e.dir, name+".key")}
	write(t, files[0], certificate)
	write(t, files[1], key)
	settings := ""
	for suffix, mode := range map[string]string{"": "starttls", implicitSuffix: "implicit"} {
		port := fmt.Sprint(freePort(t))
		e.ports[name+suffix] = port
		settings += fmt.Sprintf("[[listener]]\nname = %q\naddress = \"127.0.0.1:%s\"\ntls = %q\ntls_required = %t\ntls_certificate = %q\ntls_key = %q\n"+
			"client_certificates = \"accept\"\ntrust = []\nauth = \"relay\"\nauth_sources = [\"directory\", \"company\"]\n", name+suffix, port, mode, name == "submission", files[0], files[1])
	}
	return settings
}

// certificate has openssl make a certificate of a client, and returns how a user is known by it.
func (e *entrance) certificate(ctx context.Context, t *testing.T, name string) string {
	t.Helper()
	path := e.certificateFile(name)
	command := exec.CommandContext(ctx, program(t, "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-days", "2", "-subj", "/CN="+name, "-keyout", path, "-out", path+".crt")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command.Args, err, out)
	}
	certificate := read(t, path+".crt")
	write(t, path, append(read(t, path), certificate...))
	block, _ := pem.Decode(certificate)
	sum := sha256.Sum256(block.Bytes)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (e *entrance) certificateFile(name string) string {
	return filepath.Join(e.dir, name+"-client.pem")
}

// say runs a command of the program with some input.
func (e *entrance) say(ctx context.Context, t *testing.T, input string, args ...string) {
	t.Helper()
	command := e.Command(ctx, args...)
	command.Stdin = strings.NewReader(input)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// sending is a short message to one recipient by a listener.
func (e *entrance) sending(t *testing.T, listener, recipient string) *sending {
	t.Helper()
	short := mailing{text: "secret\n.\nmarker\n", recipients: 1}
	s, _ := short.files(t, filepath.Join(t.TempDir(), "mail"))
	s.host, s.port, s.ca = "127.0.0.1", e.ports[listener], e.roots
	s.implicit = strings.HasSuffix(listener, implicitSuffix)
	s.to = []string{recipient}
	write(t, s.recipients, []byte(recipient+"\n"))
	s.dialogue = s.message + ".dialogue"
	content := read(t, s.message)
	write(t, s.dialogue, fmt.Appendf(nil, "MAIL FROM:<sender@example.org> BODY=8BITMIME\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n%sQUIT\r\n", recipient, len(content), content))
	return s
}

// login is that of joe by a mechanism.
func (e *entrance) login(t *testing.T, mechanism string) login {
	t.Helper()
	l := login{user: joe}
	l.mechanism, _, l.oldTLS = strings.Cut(mechanism, ", TLS 1.2")
	switch {
	case l.mechanism == byCertificate:
		l.certificate = e.certificateFile("joe")
		l.mechanism = ""
	case l.mechanism == "EXTERNAL":
		l.certificate = e.certificateFile("joe")
	case l.token():
		l.keep(t, e.token)
	default:
		l.keep(t, joesPassword)
	}
	return l
}

// keep sets the secret.
func (l *login) keep(t *testing.T, secret string) {
	t.Helper()
	l.secret, l.secretFile = secret, filepath.Join(t.TempDir(), "secret")
	write(t, l.secretFile, []byte(secret))
}

// answers are the replies to AUTH in what a client tells.
var answers = regexp.MustCompile(`\b[245]\d\d [245]\.7\.\d+`)

// answer is the reply to AUTH; "" when the client tells of none.
func answer(told string) string { return answers.FindString(told) }

// oneLogin bounds one run of a client, and what is waited for behind it.
const oneLogin = time.Minute

// modes are the two ways to TLS, as the page names them, with the end of a listener's name.
var modes = []struct{ name, suffix string }{{"STARTTLS", ""}, {"implicit TLS", implicitSuffix}}

// clientsWithLogin are those that can say who they are.
func clientsWithLogin() []*mailClient {
	var clients []*mailClient
	for i := range mailClients {
		if len(mailClients[i].mechanisms) > 0 {
			clients = append(clients, &mailClients[i])
		}
	}
	return append(clients, &gsasl)
}

// TestLogins: each client gets in by each mechanism that it knows, by both ways to TLS, and
// its message arrives whole, with who it was in the journal. Who must not get in does not. Of
// what was seen the page is made.
func TestLogins(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	e := openEntrance(ctx, t)
	saw := &observed{cells: map[string]string{}}
	for _, c := range clientsWithLogin() {
		for _, mechanism := range c.mechanisms {
			for _, mode := range modes {
				if c.onlySTARTTLS && mode.suffix != "" {
					continue
				}
				t.Run(c.name+"/"+mechanism+"/"+mode.name, func(t *testing.T) {
					saw.add(e.getsIn(t, c, mechanism, mode.suffix), c.name, mechanism, mode.name)
				})
			}
		}
	}
	t.Run("Postfix", func(t *testing.T) { e.postfixLogsIn(t, saw) })
	t.Run("refused", func(t *testing.T) { e.refusals(t, saw) })
	if err := harness.UntilEmpty(ctx, e); err != nil {
		t.Error(err)
	}
	if n := len(e.taken); n > 0 {
		t.Errorf("%d more messages arrived", n)
	}
	e.findNoSecret(t)
	saw.page(t)
}

// bindings are how the first line of a client begins that is bound to its connection (RFC 5929, RFC 9266).
var bindings = map[string]string{"SCRAM-SHA-256-PLUS": "p=tls-exporter,", oldPlus: "p=tls-unique"}

// getsIn has a client send a message, and returns what it was told.
func (e *entrance) getsIn(t *testing.T, c *mailClient, mechanism, suffix string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), oneLogin)
	defer cancel()
	recipient := strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(strings.ToLower(c.name+"."+mechanism+suffix)) + "@example.net"
	s := e.sending(t, "submission"+suffix, recipient)
	s.login = e.login(t, mechanism)
	told, failed := c.run(ctx, t, s)
	if failed != nil {
		t.Fatalf("%v\n%.6000s", failed, told)
	}
	for _, a := range collect(ctx, t, e.taken, s.to) {
		c.check(t, &a, s, nil)
	}
	e.checkFact(ctx, t, recipient, mechanism, "submission"+suffix)
	if mechanism == byCertificate {
		return "no AUTH"
	}
	if binding := bindings[mechanism]; binding != "" && !strings.Contains(told, base64.StdEncoding.EncodeToString([]byte(binding))) {
		t.Errorf("the client does not say %q in\n%.6000s", binding, told)
	}
	if got := answer(told); got != "235 2.7.0" {
		t.Errorf("the reply is %q in\n%.6000s", got, told)
	}
	return answer(told)
}

// checkFact looks at what the journal says of the message to a recipient.
func (e *entrance) checkFact(ctx context.Context, t *testing.T, recipient, mechanism, listener string) {
	t.Helper()
	var accepted []mail.Fact
	err := harness.Until(ctx, "the journal has it", func() (bool, error) {
		facts, err := harness.ReadJournal(e.Journal())
		accepted = slices.DeleteFunc(facts, func(f mail.Fact) bool {
			return f.Reason != mail.ReasonAccepted || !slices.Contains(f.To, recipient)
		})
		return len(accepted) > 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	mechanism, _, oldTLS := strings.Cut(mechanism, ", TLS 1.2")
	source, protocol, version := "directory", "ESMTPSA", "TLS 1.3"
	if strings.Contains(mechanism, "OAUTH") {
		source = "company"
	}
	if oldTLS {
		version = "TLS 1.2"
	}
	if mechanism == byCertificate {
		protocol = "ESMTPS"
	}
	o := accepted[0].Origin
	if len(accepted) != 1 || o.Account == nil || *o.Account != (mail.Account{Name: joe, Source: source, Mechanism: mechanism}) ||
		o.Protocol != protocol || o.TLS == nil || o.TLS.Version != version || o.Listener != listener {
		t.Errorf("%d facts, account %+v, protocol %q, TLS %+v, by %q", len(accepted), o.Account, o.Protocol, o.TLS, o.Listener)
	}
	if shown := o.TLS.Certificate != nil; shown != (mechanism == byCertificate || mechanism == "EXTERNAL") {
		t.Errorf("certificate %+v", o.TLS.Certificate)
	}
}

// findNoSecret looks for passwords and token in what the program writes.
func (e *entrance) findNoSecret(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(e.dir, "instance"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, secret := range []string{joesPassword, otherPassword, e.token} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

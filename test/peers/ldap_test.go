package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

const staffEntries = `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: uid=joe,dc=example,dc=com
objectClass: inetOrgPerson
cn: Joe
sn: Joe
uid: joe
mail: joe@mail.example
userPassword: joes-password-271828

dn: uid=ann,dc=example,dc=com
objectClass: inetOrgPerson
cn: Ann
sn: Ann
uid: ann
mail: ann@mail.example
userPassword: anns-password-271828

dn: cn=staff,dc=example,dc=com
objectClass: groupOfNames
objectClass: mailEnabled
cn: staff
mail: staff@company.example
member: uid=joe,dc=example,dc=com
member: uid=ann,dc=example,dc=com

dn: cn=senders,dc=example,dc=com
objectClass: groupOfNames
cn: senders
member: uid=joe,dc=example,dc=com
`

// office is the real binary with a directory of users, and what comes out of it.
type office struct {
	*harness.Postern
	t     *testing.T
	slapd *mailtest.Slapd
	sink  *mailtest.Sink
	port  string // of submission
	roots string // a file
}

func openOffice(ctx context.Context, t *testing.T) *office {
	t.Helper()
	program(t, "swaks")
	dir := directory(t)
	c, _ := mailtest.ServerTLS(t, "localhost", "postern.test.example")
	o := &office{t: t, slapd: mailtest.StartSlapd(t, c, staffEntries), sink: mailtest.NewSink(t), roots: filepath.Join(dir, "cert.pem")}
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	o.port = fmt.Sprint(port)
	key, secret := filepath.Join(dir, "key.pem"), filepath.Join(dir, "secret")
	for path, content := range map[string]string{o.roots: string(mailtest.CertificatePEM(c)), key: string(mailtest.KeyPEM(t, c)), secret: mailtest.SlapdPassword} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := harness.BuildPostern(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Postern, err = harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: o.sink.Addr().String(),
		Settings: fmt.Sprintf(`
[log]
level = "debug"

[[listener]]
name = "submission"
address = "127.0.0.1:%s"
tls_certificate = %q
tls_key = %q
trust = []
auth = "relay"
auth_sources = ["directory", "corp"]
auth_mechanisms = ["PLAIN", "LOGIN"]

[[ldap]]
name = "corp"
servers = [%q]
authorities = %[2]q
bind_dn = %[5]q
bind_password = "file:%s"
base = %q
timeout = "20s"
cache_time = "0s"
relay_groups = ["senders"]
`, o.port, o.roots, key, o.slapd.Addr, mailtest.SlapdAdmin, secret, mailtest.SlapdSuffix),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Stop() })
	o.say(ctx, "domain", "add", "company.example")
	return o
}

// say runs a command of the program, and returns what it prints.
func (o *office) say(ctx context.Context, args ...string) string {
	o.t.Helper()
	out, err := o.Command(ctx, args...).CombinedOutput()
	if err != nil {
		o.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// swaks sends as a user, and returns what was said.
func (o *office) swaks(ctx context.Context, mechanism, user, password, from, to string) string {
	o.t.Helper()
	out, err := exec.CommandContext(ctx, "swaks", "--server", "127.0.0.1", "--port", o.port, "--tls", "--auth", mechanism,
		"--auth-user", user, "--auth-password", password, "--from", from, "--to", to, "--header", "Subject: by "+user).CombinedOutput()
	if err != nil && len(out) == 0 {
		o.t.Fatal(err)
	}
	return string(out)
}

// TestUsersOfLDAP: users of a directory log in and send, by every mechanism that shows a
// password; who is wrong, unknown or in no group does not; and while the directory is down
// nobody is told that there is no such user (RFC 4954 6).
func TestUsersOfLDAP(t *testing.T) {
	ctx := bounded(t)
	o := openOffice(ctx, t)
	const joes, anns, to = "joes-password-271828", "anns-password-271828", "someone@far.example"
	wants := func(what, said, want string) {
		t.Helper()
		if !strings.Contains(said, want) {
			t.Errorf("%s: no %q in\n%s", what, want, said)
		}
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		wants(mechanism, o.swaks(ctx, mechanism, "joe", joes, "joe@mail.example", to), "<~  235")
	}
	received, err := o.sink.Wait(ctx, 2)
	if err != nil || received[0].From() != "joe@mail.example" {
		t.Fatalf("%+v, %v", received, err)
	}
	wants("a wrong password", o.swaks(ctx, "PLAIN", "joe", "other", "joe@mail.example", to), "<~* 535 5.7.8")
	wants("no such user", o.swaks(ctx, "PLAIN", "nobody", joes, "joe@mail.example", to), "<~* 535 5.7.8")
	wants("an injection", o.swaks(ctx, "PLAIN", "*)(uid=*", joes, "joe@mail.example", to), "<~* 535 5.7.8")
	wants("no group", o.swaks(ctx, "PLAIN", "ann", anns, "ann@mail.example", to), "<~* 550 5.7.1")
	wants("another's address", o.swaks(ctx, "PLAIN", "joe", joes, "ann@mail.example", to), "<~* 553 5.7.1")

	wants("a group", o.swaks(ctx, "PLAIN", "joe", joes, "joe@mail.example", "staff@company.example"), "<~  250")
	if received, err = o.sink.Wait(ctx, 3); err != nil || len(received[2].Rcpts) != 2 {
		t.Errorf("to a group: %+v, %v", received, err)
	}
	wants("nobody in the directory", o.swaks(ctx, "PLAIN", "joe", joes, "joe@mail.example", "nobody@company.example"), "<~* 550 5.1.1")

	wants("a trial", o.say(ctx, "ldap", "test", "corp", "joe"), "groups     senders, staff")
	o.slapd.Stop()
	wants("down", o.swaks(ctx, "PLAIN", "joe", joes, "joe@mail.example", to), "<~* 454 4.7.0")
	wants("down, nobody", o.swaks(ctx, "PLAIN", "nobody", joes, "joe@mail.example", to), "<~* 454 4.7.0")
	wants("the status", o.say(ctx, "status"), "WARNING: ldap corp: down since")
	o.slapd.Start()
	err = harness.Until(ctx, "the directory is back", func() (bool, error) {
		return strings.Contains(o.swaks(ctx, "PLAIN", "joe", joes, "joe@mail.example", to), "<~  235"), nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := o.Stop(); err != nil {
		t.Error(err)
	}
	o.checkTold(t)
}

// checkTold looks at what the journal says, and that no password was told.
func (o *office) checkTold(t *testing.T) {
	facts, err := harness.ReadJournal(o.Journal())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[mail.Reason]int)
	for _, f := range facts {
		seen[f.Reason]++
		if f.Reason == mail.ReasonAccepted && (f.Origin == nil || f.Origin.Account == nil || f.Origin.Account.Source != "corp" || f.Origin.Account.Name != "joe") {
			t.Errorf("accepted from %+v", f.Origin)
		}
	}
	if seen[mail.ReasonAccepted] < 4 || seen[mail.ReasonSourceDown] != 1 || seen[mail.ReasonSourceUp] != 1 {
		t.Errorf("facts: %v", seen)
	}
	err = filepath.WalkDir(filepath.Dir(o.Log()), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && (strings.Contains(string(text), "271828") || strings.Contains(string(text), mailtest.SlapdPassword)) {
			t.Errorf("%s shows a password", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

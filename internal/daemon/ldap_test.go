package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

const oneUser = `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: uid=joe,dc=example,dc=com
objectClass: inetOrgPerson
cn: Joe
sn: Joe
uid: joe
mail: joe@example.com
userPassword: joes-pass
`

// directed are settings with a directory, whose authorities and password are in files.
func directed(t *testing.T) (*config.Config, *mailtest.Slapd) {
	t.Helper()
	server, _ := mailtest.ServerTLS(t, "localhost")
	slapd := mailtest.StartSlapd(t, server, oneUser)
	at, err := mail.ParseHostPort(slapd.Addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := settings(t, nowhere)
	dir := t.TempDir()
	c.LDAP = []config.LDAP{{
		Name: "corp", Servers: []mail.HostPort{at}, TLS: config.LDAPStartTLS, Authorities: filepath.Join(dir, "ca.pem"), BindDN: mailtest.SlapdAdmin,
		BindPassword: config.Secret{Source: config.SecretFile, Name: filepath.Join(dir, "secret")}, Base: mailtest.SlapdSuffix, Schema: config.LDAPRFC2307,
		GroupDepth: 1, Timeout: 20 * time.Second, MaxConnections: 2, CacheTime: time.Hour,
	}}
	write := func(name, content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(c.LDAP[0].Authorities, string(mailtest.CertificatePEM(server)))
	write(c.LDAP[0].BindPassword.Name, mailtest.SlapdPassword+"\n")
	return c, slapd
}

func login(t *testing.T, g *graph) error {
	t.Helper()
	_, err := g.ldapNamed("corp").Password(t.Context(), "joe", "joes-pass")
	return err
}

// TestDirectoryIsDown: it is told in log, journal and status, and so is its return; a
// reload keeps what is known of it.
func TestDirectoryIsDown(t *testing.T) {
	c, slapd := directed(t)
	r, s := reloadable(t, c)
	if err := login(t, r.inForce()); err != nil {
		t.Fatal(err)
	}
	slapd.Stop()
	if err := login(t, r.inForce()); err == nil || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("down: %v", err)
	}
	s.set(c, func(c *config.Config) {
		l := c.LDAP[0]
		l.MaxConnections = 3
		c.LDAP = []config.LDAP{l}
	})
	before := r.inForce()
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if before.ldap[0] == r.inForce().ldap[0] {
		t.Error("the directory has not changed with its settings")
	}
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "ldap corp: down since ") {
		t.Errorf("the status warns of %q", w)
	}
	if n := r.ldapServersDown(); n != 1 {
		t.Errorf("%v servers are down", n)
	}
	slapd.Start()
	deadline := time.Now().Add(time.Minute)
	for login(t, r.inForce()) != nil {
		if time.Now().After(deadline) {
			t.Fatal("it does not come back")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if w := r.Daemon.status().Warnings; len(w) > 0 {
		t.Errorf("back, but the status warns of %q", w)
	}
	if err := login(t, before); err != nil {
		t.Errorf("a session of before the reload: %v", err)
	}
	r.end(t)
	lines := journalOf(t, c)
	if strings.Count(lines, "source-down") != 1 || strings.Count(lines, "source-up") != 1 || !strings.Contains(lines, "ldap corp: dial tcp") {
		t.Errorf("the journal:\n%s", lines)
	}
	for _, text := range []string{lines, r.log.String()} {
		if strings.Contains(text, mailtest.SlapdPassword) || strings.Contains(text, "joes-pass") {
			t.Error("a password was told")
		}
	}
}

// TestDirectoryAtReload: one that is the same stays with its connections and what it
// remembers; a file that has changed makes another.
func TestDirectoryAtReload(t *testing.T) {
	c, _ := directed(t)
	r, s := reloadable(t, c)
	before := r.inForce().ldap[0]
	s.set(c, func(c *config.Config) { c.Message.MaxHops = 7 })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if r.inForce().ldap[0] != before {
		t.Error("a directory that is the same was made anew")
	}
	put(t, c.LDAP[0].BindPassword.Name, "wrong\n")
	done, err := r.Reload("test")
	if err != nil || len(done.Changes) != 1 || done.Changes[0].Key != "ldap.bind_password" || strings.Contains(string(done.Changes[0].New), "wrong") {
		t.Errorf("%+v, %v", done.Changes, err)
	}
	if err := login(t, r.inForce()); err == nil || !strings.Contains(err.Error(), "bind_dn") {
		t.Errorf("with another password: %v", err)
	}
	put(t, c.LDAP[0].Authorities, "nothing\n")
	if _, err := r.Reload("test"); err == nil || !strings.Contains(err.Error(), "ldap.authorities: ldap corp: "+c.LDAP[0].Authorities+": is not in the form expected") {
		t.Errorf("with a wrong file: %v", err)
	}
	s.set(c, func(c *config.Config) { c.LDAP = nil })
	if _, err := r.Reload("test"); err != nil || len(r.inForce().ldap) != 0 {
		t.Errorf("without it: %v", err)
	}
	r.end(t)
}

// TestDirectoriesAreChecked: what is wrong in a filter has its place in the file.
func TestDirectoriesAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "postern.toml")
	put(t, file, `version = 1
hostname = "mail.example.com"
data_dir = "data"
postmaster = "ops@example.org"

[[listener]]
name = "in"
address = "127.0.0.1:0"

[[ldap]]
name = "corp"
servers = ["localhost"]
base = "example"
authorities = "gone.pem"
bind_dn = "cn=x"
bind_password = "file:secret"
user_filter = "(&(uid={login})"
group_filter = "({dn}=x)"
`)
	c, err := config.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	wantEach(t, Check(c, Options{}).Problems,
		file+":16:1: ldap.bind_password: ldap corp: file:"+dir+"/secret: no such file or directory",
		file+":14:1: ldap.authorities: ldap corp: "+dir+"/gone.pem: cannot be read: no such file or directory",
		file+":17:1: ldap.user_filter: ldap corp: is not a filter: ",
		file+":18:1: ldap.group_filter: ldap corp: has a place where no value can be",
		file+`:13:1: ldap.base: ldap corp: "example" is not the name of an entry: `,
	)
}

func TestTryLDAP(t *testing.T) {
	c, _ := directed(t)
	r, err := TryLDAP(t.Context(), c, LDAPTrial{Directory: "corp", Who: "joe", Password: "joes-pass"})
	if err != nil || r.Failed() || !r.User.Admitted || r.Servers[0].TLS == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := TryLDAP(t.Context(), c, LDAPTrial{Directory: "other"}); !errors.Is(err, errNoDirectory) {
		t.Error(err)
	}
}

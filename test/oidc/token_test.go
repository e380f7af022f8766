package oidc_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/daemon"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// newPostern makes an instance that has sources, and is not started.
func newPostern(t *testing.T, settings string) *harness.Postern {
	t.Helper()
	p, err := built()
	mailtest.Must(t, err)
	instance, err := harness.NewPostern(harness.PosternOptions{Binary: p.postern, Dir: filepath.Join(t.TempDir(), "postern"), NextHop: "127.0.0.1:9", Settings: settings})
	mailtest.Must(t, err)
	return instance
}

// try shows a token to `postern oidc test`: what it says, and why it refuses; empty if it
// does not.
func try(t *testing.T, p *harness.Postern, token string, more ...string) (daemon.TokenReport, string) {
	t.Helper()
	command := p.Command(t.Context(), append([]string{"oidc", "test", "company", "--json"}, more...)...)
	command.Stdin = strings.NewReader(token + "\n")
	var out, wrong bytes.Buffer
	command.Stdout, command.Stderr = &out, &wrong
	err := command.Run()
	var report daemon.TokenReport
	if out.Len() > 0 {
		mailtest.Must(t, json.Unmarshal(out.Bytes(), &report))
	}
	if (err == nil) != (wrong.Len() == 0) {
		t.Fatalf("%v, and it says %q", err, wrong.String())
	}
	if body, _, _ := strings.Cut(token, "."); len(body) > 20 && strings.Contains(out.String()+wrong.String(), token[len(token)-20:]) {
		t.Error("it shows the token")
	}
	return report, wrong.String()
}

// wants checks that a token is good, or why it is refused.
func wants(t *testing.T, p *harness.Postern, token, refused string) daemon.TokenReport {
	t.Helper()
	report, why := try(t, p, token)
	switch {
	case refused == "" && (why != "" || report.Account == nil || report.Account.Name != "joe@example.com"):
		t.Errorf("refused: %s %+v", why, report)
	case refused != "" && !strings.Contains(why, refused):
		t.Errorf("it says %q, want %q", why, refused)
	}
	return report
}

// TestTokensOfRealIssuer: both kinds of token of a user who has logged in are good, and
// what the settings make of them.
func TestTokensOfRealIssuer(t *testing.T) {
	i := startIssuer(t)
	joe, ann := i.login(t, "joe"), i.login(t, "ann")
	plain := newPostern(t, i.Settings("must_exist = false"))
	wants(t, plain, joe.ID, "")
	report := wants(t, plain, joe.Access, "")
	if report.Header.Algorithm != "RS256" || report.Header.Key != "key-1" || report.Keys != 1 || !slices.Equal(report.Account.Services, []string{"relay", "submit"}) || !slices.Equal(report.Account.Addresses, []string{"joe@example.com"}) {
		t.Errorf("report %+v of %+v", report, report.Account)
	}
	wants(t, plain, ann.ID, "has not verified")
	wants(t, plain, joe.ID+"x", "refused")
	if _, why := try(t, plain, joe.ID, "--user", "ann@example.com"); !strings.Contains(why, "is of \"joe@example.com\"") {
		t.Errorf("another user: %q", why)
	}
	if _, why := try(t, plain, joe.ID, "--user", "JOE@example.com"); why != "" {
		t.Errorf("the user: %q", why)
	}

	for settings, refused := range map[string]string{
		"must_exist = false\nrequired_claims = [\"realm_access.roles=staff\"]":                                                "",
		"must_exist = false\nrequired_claims = [\"realm_access.roles=boss\"]":                                                 "realm_access.roles",
		"must_exist = false\nscopes = [\"openid\"]":                                                                           "",
		"must_exist = false\nscopes = [\"mail.send\"]":                                                                        "lacks the scope mail.send",
		"must_exist = false\ngroups_claim = \"realm_access.roles\"\nservices = [\"submit=staff\", \"relay=others\", \"pop\"]": "",
		"algorithms = [\"ES256\"]":                                                                                            `signed with "RS256"`,
	} {
		p := newPostern(t, i.Settings(settings))
		report := wants(t, p, joe.Access, refused)
		if strings.Contains(settings, "groups_claim") && (!slices.Equal(report.Account.Services, []string{"pop", "submit"}) || !slices.Equal(report.Account.Groups, []string{"senders", "staff"})) {
			t.Errorf("report %+v", report.Account)
		}
	}
	other := newPostern(t, strings.Replace(i.Settings(""), harness.IssuerClient, "somebody-else", 1))
	wants(t, other, joe.ID, "is for \"mail-programs\"")
}

// TestRotationOfRealIssuer: keys of other kinds sign, and those that are taken back count
// no more.
func TestRotationOfRealIssuer(t *testing.T) {
	i := startIssuer(t)
	p := newPostern(t, i.Settings("must_exist = false"))
	old := i.login(t, "joe")
	for n, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		i.order(t, "rotate "+algorithm)
		report := wants(t, p, i.login(t, "joe").ID, "")
		if report.Header.Algorithm != algorithm || report.Keys != n+2 {
			t.Errorf("header %+v, %d keys", report.Header, report.Keys)
		}
		wants(t, p, old.ID, "")
	}
	i.order(t, "withdraw")
	wants(t, p, old.ID, `no key of the issuer has signed the token; it names "key-1"`)
	wants(t, p, i.login(t, "joe").Access, "")
}

// TestOneIssuerForAnother: a token is good at its own issuer only.
func TestOneIssuerForAnother(t *testing.T) {
	i, evil := startIssuer(t), startIssuer(t)
	p := newPostern(t, i.Settings("must_exist = false"))
	wants(t, p, evil.login(t, "joe").ID, "is of the issuer \""+evil.URL+"\"")
	// Who can lead the server to another host has no certificate for the issuer.
	wants(t, newPostern(t, strings.Replace(i.Settings(""), i.URL, evil.URL, 1)), evil.login(t, "joe").ID, "does not answer")
	evil.stop()
	wants(t, newPostern(t, evil.Settings("")), "x", "does not answer")
}

// TestCheckNamesPlaces: what is wrong with a source is told with its place.
func TestCheckNamesPlaces(t *testing.T) {
	p := newPostern(t, "[[oidc]]\nname = \"company\"\nissuer = \"https://login.example.net\"\naudience = [\"mail\"]\nauthorities = \"none.pem\"\n\n"+
		"[[http_auth]]\nname = \"intranet\"\nurl = \"https://login.example.net\"\nsecret_header = \"X-Secret\"\nsecret = \"file:none\"\nclient_certificate = \"none.pem\"\nclient_key = \"none.key\"\n")
	out, err := p.Command(t.Context(), "check").CombinedOutput()
	if _, failed := err.(*exec.ExitError); !failed {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"oidc.authorities: oidc company:", "http_auth.secret: http_auth intranet:", "http_auth.client_certificate: http_auth intranet:"} {
		line := ""
		for l := range strings.Lines(string(out)) {
			if strings.Contains(l, want) {
				line = l
			}
		}
		if !strings.Contains(line, "postern.toml:") || !strings.Contains(line, "no such file") {
			t.Errorf("check says nothing of %q with its place:\n%s", want, out)
		}
	}
}

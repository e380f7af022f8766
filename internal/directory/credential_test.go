package directory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fullCredentials have a value in each field, as they are recorded.
func fullCredentials() (byPassword, byTokens Credential) {
	byPassword = Credential{
		Name: "relay", Kind: CredentialPassword, User: "joe", Hosts: []string{"*.example.com", "192.0.2.1"},
		Mechanisms: []string{"PLAIN", "LOGIN"}, WithoutVerification: true, Password: "v1.sealed-password", Note: "contract 7",
	}
	byTokens = Credential{
		Name: "office", Kind: CredentialOAuth, User: "joe@example.com", Hosts: []string{"smtp.example.com"},
		Preset: PresetMicrosoft, TokenURL: "https://login.example/oauth2/token", ClientID: "client", Scopes: []string{"a", "b"},
		Certificate: "PEM", KeyID: "key", ClientKey: "v1.sealed-key", RefreshToken: "v1.sealed-token",
	}
	return byPassword, byTokens
}

// TestCredentialsStay: what was recorded is found at once, after the directory was opened
// again, and in a view of it; until it is removed.
func TestCredentialsStay(t *testing.T) {
	o := newDirectory(t)
	relay, office := fullCredentials()
	written := relay
	written.Name, written.Hosts, written.Mechanisms = "Relay", []string{"*.EXAMPLE.com", "[192.0.2.1]"}, []string{"plain", "login"}
	o.change(putAll(written, office))
	for _, r := range []*Credential{&relay, &office} {
		r.Created, r.Changed = start, start
	}
	for _, when := range []string{"at once", "after it was opened again"} {
		for _, want := range []Credential{relay, office} {
			if diff := cmp.Diff(&want, o.Credential(strings.ToUpper(want.Name)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", when, diff)
			}
		}
		var listed []Credential
		if err := o.Read(t.Context(), func(r *Reader) (err error) {
			listed, err = r.Credentials("", 10)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Credential{office, relay}, listed, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s, listed: -want +got:\n%s", when, diff)
		}
		o.reopen()
	}
	o.change(func(tx *Tx) error { return tx.DeleteCredential("Office") })
	if o.Credential("office") != nil || o.CredentialFor("smtp.example.com").Name != "relay" || o.Counts() != (Counts{Credentials: 1}) {
		t.Error("it is still there")
	}
	want := []string{
		"credential relay: created; kind password; user joe; hosts *.example.com 192.0.2.1; mechanisms PLAIN LOGIN; without_verification true; password set; note contract 7",
		"credential office: created; kind oauth; user joe@example.com; hosts smtp.example.com; without_verification false; preset microsoft365; token_url https://login.example/oauth2/token; client_id client; scopes a b; certificate set; key_id key; client_key set; refresh_token set",
		"credential office: removed; kind oauth; user joe@example.com; hosts smtp.example.com; without_verification false; preset microsoft365; token_url https://login.example/oauth2/token; client_id client; scopes a b; certificate set; key_id key; client_key set; refresh_token set",
	}
	if diff := cmp.Diff(want, o.texts()); diff != "" {
		t.Errorf("facts: -want +got:\n%s", diff)
	}
}

// TestCredentialFor: a name or address comes before a pattern, a long pattern before a short one.
func TestCredentialFor(t *testing.T) {
	o := newDirectory(t)
	of := func(name string, hosts ...string) Credential {
		return Credential{Name: name, Kind: CredentialPassword, User: "u", Password: "v1.x", Hosts: hosts}
	}
	o.change(putAll(of("all", "*.example.com"), of("below", "*.mail.example.com"), of("one", "a.mail.example.com", "2001:DB8::1", "bücher.example")))
	for host, want := range map[string]string{
		"A.mail.example.com.": "one", "b.mail.example.com": "below", "mail.example.com": "all", "x.y.example.com": "all",
		"example.com": "", "notexample.com": "", "[2001:db8::1]": "one", "2001:db8::2": "", "xn--bcher-kva.example": "one", "": "",
	} {
		got := ""
		if r := o.CredentialFor(host); r != nil {
			got = r.Name
			if !r.IsFor(host) {
				t.Errorf("%q: %s says that it is not for it", host, got)
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
	if r := o.Credential("all"); r.IsFor("example.com") || r.IsFor("notexample.com") || r.IsFor("") {
		t.Error("a pattern matches what is not below its name")
	}
	o.refused("hosts", `"*.example.com" is a host of credential "all" too`, putAll(of("other", "*.Example.com")))
	o.refused("hosts", `"c.example" is a host of credential "x" too`, putAll(of("x", "c.example"), of("y", "c.example")))
	o.change(func(tx *Tx) error { // it may change hands
		if err := tx.PutCredential(of("all")); err != nil {
			return err
		}
		return tx.PutCredential(of("other", "*.example.com"))
	})
	if r := o.CredentialFor("x.example.com"); r == nil || r.Name != "other" {
		t.Errorf("it is now that of %v", r)
	}
}

func TestInvalidCredentials(t *testing.T) {
	o := newDirectory(t)
	relay, office := fullCredentials()
	for _, c := range []struct {
		of          Credential
		change      func(*Credential)
		field, part string
	}{
		{relay, func(r *Credential) { r.Name = "relay.example" }, "name", "is no name"},
		{relay, func(r *Credential) { r.User = "" }, "user", "is missing"},
		{relay, func(r *Credential) { r.User = "a\x00b" }, "user", "control character"},
		{relay, func(r *Credential) { r.Kind = "certificate" }, "kind", "write password or oauth"},
		{relay, func(r *Credential) { r.Password = "" }, "password", "is missing"},
		{relay, func(r *Credential) { r.ClientID = "x" }, "client_id", "of no use with a password"},
		{relay, func(r *Credential) { r.RefreshToken = "v1.x" }, "refresh_token", "of no use with a password"},
		{relay, func(r *Credential) { r.Hosts = []string{"*.com"} }, "hosts", "a large part of the Internet"},
		{relay, func(r *Credential) { r.Hosts = []string{"a.*.example"} }, "hosts", `write a name such as "smtp.example.com"`},
		{relay, func(r *Credential) { r.Hosts = []string{"*"} }, "hosts", "write a name"},
		{relay, func(r *Credential) { r.Hosts = make([]string, MaxCredentialHosts+1) }, "hosts", "there are 101"},
		{relay, func(r *Credential) { r.Mechanisms = []string{"XOAUTH2"} }, "mechanisms", "proves no password"},
		{relay, func(r *Credential) { r.Password = strings.Repeat("x", MaxSealed+1) }, "password", "24577 octets when it is sealed"},
		{office, func(r *Credential) { r.Mechanisms = []string{"PLAIN"} }, "mechanisms", "proves no oauth"},
		{office, func(r *Credential) { r.Password = "v1.x" }, "password", "of no use with tokens"},
		{office, func(r *Credential) { r.Preset = "aol" }, "preset", "write microsoft365 or google"},
		{office, func(r *Credential) { r.TokenURL = "http://login.example/token" }, "token_url", "no URL of HTTPS"},
		{office, func(r *Credential) { r.TokenURL = "https://joe:secret@login.example/token" }, "token_url", "no URL of HTTPS"},
		{office, func(r *Credential) { r.TokenURL = "https:///token" }, "token_url", "no URL of HTTPS"},
		{office, func(r *Credential) { r.ClientID = "" }, "client_id", "is missing"},
		{office, func(r *Credential) { r.Scopes = []string{"a b"} }, "scopes", "is no scope"},
		{office, func(r *Credential) { r.ClientSecret = "v1.x" }, "client_secret", "and a client key too"},
		{office, func(r *Credential) { r.ClientKey, r.RefreshToken = "", "" }, "client_secret", "all else by which tokens are had"},
		{office, func(r *Credential) {
			r.Preset, r.ClientKey, r.RefreshToken, r.ClientSecret = PresetGoogle, "", "", "v1.x"
		}, "client_secret", "not enough for tokens of Google"},
		{office, func(r *Credential) { r.Certificate = strings.Repeat("x", MaxPEM+1) }, "certificate", "16385 octets"},
	} {
		r := c.of
		c.change(&r)
		o.refused(c.field, c.part, putAll(r))
	}
	if o.Counts() != (Counts{}) {
		t.Error("something was recorded")
	}
}

// TestReseal: secrets that are sealed otherwise are no change that anybody is told of.
func TestReseal(t *testing.T) {
	o := newDirectory(t)
	_, office := fullCredentials()
	o.change(putAll(office))
	told := len(o.texts())
	was := o.Credential("office")
	o.change(func(tx *Tx) error {
		names := tx.Credentials()
		if len(names) != 1 {
			t.Errorf("there are %q", names)
		}
		r, _ := tx.Credential(names[0])
		r.ClientKey = "v1.other"
		return tx.Reseal(r)
	})
	swap := func(changed bool) *Credential {
		t.Helper()
		now, err := o.Directory.Reseal(t.Context(), "office", func(r *Credential) (bool, error) {
			r.RefreshToken = "v1.next"
			return changed, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	if now := swap(false); now.RefreshToken != was.RefreshToken {
		t.Errorf("it was swapped although nothing was to change: %+v", now)
	}
	if now := swap(true); now.RefreshToken != "v1.next" || now.ClientKey != "v1.other" || now == was {
		t.Errorf("%+v", now)
	}
	if r, err := o.Directory.Reseal(t.Context(), "nobody", func(*Credential) (bool, error) { return true, nil }); r != nil || err != nil {
		t.Errorf("there is %v, %v", r, err)
	}
	o.reopen()
	if r := o.Credential("office"); r.RefreshToken != "v1.next" || r.ClientKey != "v1.other" {
		t.Errorf("on the disk is %+v", r)
	}
	if now := len(o.texts()); now != told {
		t.Errorf("%d facts tell of it", now-told)
	}
}

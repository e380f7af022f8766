package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/credentials"
	"postern/internal/directory"
)

// TestCredentials: what is secret in a credential is written, and read by nobody: not even as it is
// sealed. What is not said stays as it was.
func TestCredentials(t *testing.T) {
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys := credentials.NewKeyring(filepath.Join(t.TempDir(), "keys"))
	var asked []CredentialTest
	inside := NewInside(Options{Records: Records{Directory: d, Keys: func() *credentials.Keyring { return keys },
		TestLogin: func(_ context.Context, test CredentialTest) (CredentialTested, error) {
			asked = append(asked, test)
			return CredentialTested{Credential: "relay", Error: "refused"}, nil
		}}})
	t.Cleanup(func() {
		if err := errors.Join(inside.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	const secret, key = "hunter2-of-the-relay", "hunter2-of-the-client"
	added, err := inside.Credentials().Add(ctx, map[string]any{"name": "Relay", "user": "joe", "hosts": []string{"*.example.com"}, "password": secret})
	if err != nil {
		t.Fatal(err)
	}
	office, err := inside.Credentials().Add(ctx, map[string]any{"name": "office", "kind": "oauth", "user": "joe@example.com", "preset": "microsoft365",
		"tenant": "t.example", "client_id": "x", "client_secret": key})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := inside.Credentials().Change(ctx, RecordName{Name: "relay"}, map[string]any{"note": "n"})
	if err != nil || changed.Record.Note != "n" || changed.Record.Hosts[0] != "*.example.com" {
		t.Errorf("%+v, %v", changed, err)
	}
	if r := d.Credential("relay"); r.Password == "" || r.Kind != directory.CredentialPassword {
		t.Errorf("it has no password any more: %v", r)
	}
	var listed []Credential
	if err := inside.Credentials().Each(ctx, RecordQuery{}, func(c *Credential) error {
		listed = append(listed, *c)
		return nil
	}); err != nil || len(listed) != 2 || listed[0].TokenURL != "https://login.microsoftonline.com/t.example/oauth2/v2.0/token" {
		t.Errorf("%v, %v", listed, err)
	}
	got, err := inside.Credentials().Get(ctx, RecordName{Name: "RELAY"})
	if err != nil || len(got.Secrets) != 1 || got.Secrets[0] != "password" {
		t.Errorf("%+v, %v", got, err)
	}
	_, wrong := inside.Credentials().Change(ctx, RecordName{Name: "office"}, map[string]any{"password": secret})
	if problem, is := errors.AsType[*Problem](wrong); !is || problem.Status != 422 {
		t.Errorf("a password of one by tokens: %v", wrong)
	}
	if _, again := inside.Credentials().Add(ctx, map[string]any{"name": "relay", "user": "x", "password": "y"}); again == nil {
		t.Error("it was added twice")
	}
	if n, err := inside.RekeyCredentials(ctx); err != nil || n.Credentials != 2 {
		t.Errorf("%+v, %v", n, err)
	}
	if done, err := inside.TestCredential(ctx, CredentialTest{Host: "mx.example.com"}); err != nil || done.Error != "refused" || asked[0].Port != 0 {
		t.Errorf("%+v, %v, asked %+v", done, err, asked)
	}
	if err := inside.Credentials().Delete(ctx, RecordName{Name: "relay"}); err != nil || d.Credential("relay") != nil {
		t.Errorf("it is still there: %v", err)
	}
	said, err := json.Marshal([]any{added, office, changed, listed, got})
	if err != nil {
		t.Fatal(err)
	}
	facts, err := d.NextFacts(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	all := string(said) + fmt.Sprintf("%v %+v %#v %v %v", added.Record, office.Record, got, wrong, facts)
	for _, hidden := range []string{secret, key, "v1."} {
		if strings.Contains(all, hidden) {
			t.Errorf("%q is shown in %s", hidden, all)
		}
	}
}

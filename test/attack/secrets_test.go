package attack

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// Secrets that nothing may show.
const (
	relayPassword = "marked-password-of-the-relay"
	wrongPassword = "marked-password-that-is-wrong"
	adminToken    = "marked-token-of-the-administrator"
)

// secretForms are how secrets could be shown.
func secretForms(key []byte) []string {
	lines := strings.Split(string(key), "\n")
	forms := []string{lines[1]} // of the key's Base64
	for _, s := range []string{relayPassword, wrongPassword, adminToken} {
		forms = append(forms, s, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	for _, s := range []string{relayPassword, wrongPassword} {
		forms = append(forms, base64.StdEncoding.EncodeToString([]byte("\x00relay\x00"+s)))
	}
	return forms
}

// TestSecrets: the password for a smarthost, right and wrong, the tokens of the
// API and the key of a listener are in nothing that the program prints, answers
// or writes, what it prints when it is aborted included.
func TestSecrets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir := t.TempDir()
	config, _ := mailtest.ServerTLS(t, "smarthost.example")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"relay": relayPassword}})
	key := mailtest.KeyPEM(t, config)
	files := map[string][]byte{
		"tokens":   []byte("operator " + adminToken + "\n"),
		"cert.pem": mailtest.CertificatePEM(config), "key.pem": key,
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := harness.BuildPostern(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	settings := "smarthost_credential = 'relay'\n[log]\nlevel = 'debug'\n" +
		"[admin]\naddress = '%[2]s'\ntokens = 'file:%[1]s/tokens'\n" +
		"[[listener]]\nname = 'tls'\naddress = '%[3]s'\ntls_certificate = '%[1]s/cert.pem'\ntls_key = '%[1]s/key.pem'\n"
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: sink.Addr().String(),
		TLS: "verify", Settings: fmt.Sprintf(settings, dir, freeAddress(t), freeAddress(t))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetCredential(ctx, "relay", "relay", relayPassword); err != nil {
		t.Fatal(err)
	}
	if err := p.StartAs(ctx, binary, "SSL_CERT_FILE="+dir+"/cert.pem"); err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	submit(ctx, t, p, "right")
	if received, err := sink.Wait(ctx, 1); err != nil || received[0].User != "relay" {
		t.Fatalf("the smarthost got %v, %v", received, err)
	}
	shown := show(ctx, t, p)

	// And now a password that the smarthost refuses.
	if err := p.SetCredential(ctx, "relay", "relay", wrongPassword); err != nil {
		t.Fatal(err)
	}
	submit(ctx, t, p, "wrong")
	untilSaid(ctx, t, p, `"reason":"deferred"`, "535")
	shown = append(shown, show(ctx, t, p)...)
	shown = append(shown, ask(ctx, t, p, "/v1/queue"), ask(ctx, t, p, "/v1/status"), ask(ctx, t, p, "/v1/openapi.json"))
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	shown = append(shown, cmdline)
	if err := syscall.Kill(p.PID(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(ctx, "it has been aborted", func() (bool, error) { return !p.Running(), nil }); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(p.Log())
	if err != nil || !bytes.Contains(log, []byte("goroutine ")) || !bytes.Contains(log, []byte("level=DEBUG")) {
		t.Fatalf("the log lacks what is to be looked at: %v", err)
	}
	shown = append(shown, written(t, filepath.Dir(p.Data()))...)
	for _, text := range shown {
		for _, secret := range secretForms(key) {
			if i := bytes.Index(text, []byte(secret)); i >= 0 {
				t.Errorf("a secret is shown: %.200q", text[max(0, i-100):])
			}
		}
	}
}

// submit sends a message.
func submit(ctx context.Context, t *testing.T, p *harness.Postern, id string) {
	t.Helper()
	c, err := harness.Dial(ctx, p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	content := harness.Header(id, "a@source.example", "b@elsewhere.example")
	if o, err := c.Send(&harness.Message{ID: id, From: "a@source.example", To: []string{"b@elsewhere.example"}, Content: content}); o != harness.Accepted {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// show is what the commands print that tell of settings and of mail.
func show(ctx context.Context, t *testing.T, p *harness.Postern) [][]byte {
	t.Helper()
	var all [][]byte
	for _, command := range [][]string{
		{"config", "show"}, {"config", "show", "--effective"}, {"config", "show", "--json"}, {"check"}, {"check", "--json"}, {"status", "--json"},
		{"queue", "list"}, {"queue", "list", "--json"}, {"journal", "tail", "-n", "1000"}, {"journal", "tail", "-n", "1000", "--json"},
	} {
		text, err := p.Command(ctx, command...).CombinedOutput()
		if err != nil || len(text) == 0 && command[0] != "queue" { // which may be empty
			t.Errorf("%v: %v %s", command, err, text)
		}
		all = append(all, text)
	}
	return all
}

// written are all files that the server has written, its log included.
func written(t *testing.T, dir string) [][]byte {
	t.Helper()
	var all [][]byte
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, text)
		return err
	})
	if err != nil || len(all) < 5 {
		t.Fatalf("%d files were found: %v", len(all), err)
	}
	return all
}

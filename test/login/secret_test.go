package login

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/test/harness"
)

// Secrets beside the password of joe, which nothing may show either.
const (
	wrongPassword = "marked-password-that-is-wrong"
	asName        = "marked-password-as-a-name"
	brokenForm    = "marked-password-in-a-broken-form"
)

// forms are how secrets could be shown.
func forms() []string {
	var list []string
	for _, s := range []string{password, wrongPassword, asName, brokenForm} {
		list = append(list, s, base64.StdEncoding.EncodeToString([]byte(s)),
			base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+s)))
	}
	return append(list, "$argon2id$", "SCRAM-SHA-256$")
}

// TestPasswordsAreNowhere: passwords, right and wrong, one that was typed as the name and
// one in a message that is broken, are in nothing that the server writes, prints or
// answers, what it prints when it is aborted included; and neither are hashes and keys,
// but in the database.
func TestPasswordsAreNowhere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := start(ctx, t)
	s.sayAll(ctx, t)

	shown := map[string]string{"metrics": s.get(t, "/metrics")}
	for _, command := range []string{
		"status", "status --json", "user list --json", "user show joe --json", "user export", "ban list --json", "config show --effective",
		"journal --json", "listener list --json", "explain --listener login --user joe --from joe@example.com --to ann@example.org",
	} {
		out, _ := s.Command(ctx, strings.Fields(command)...).CombinedOutput()
		shown[command] = string(out)
	}
	must(t, syscall.Kill(s.PID(), syscall.SIGABRT)) // all goroutines are printed
	must(t, harness.Until(ctx, "the end of the server", func() (bool, error) { return !s.Running(), nil }))

	log, err := os.ReadFile(s.Log())
	must(t, err)
	if !bytes.Contains(log, []byte("authentication failed")) || !bytes.Contains(log, []byte("goroutine ")) {
		t.Errorf("the log tells of no failure, or of no goroutine:\n%s", log[:min(len(log), 2000)])
	}
	must(t, filepath.WalkDir(filepath.Dir(s.Data()), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), "directory.db") {
			return err
		}
		content, err := os.ReadFile(path)
		shown[path] = string(content)
		return err
	}))
	for where, text := range shown {
		for _, secret := range forms() {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s shows %s: %q", where, secret, text[max(0, i-100):min(len(text), i+100)])
			}
		}
	}
	s.checkDatabase(t)
}

// checkDatabase wants the database to have hashes, and no password.
func (s *server) checkDatabase(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Data(), "directory", "directory.db*"))
	must(t, err)
	var all bytes.Buffer
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(t, err)
		all.Write(content)
	}
	if !bytes.Contains(all.Bytes(), []byte("$argon2id$")) {
		t.Errorf("there is no hash in %q", files)
	}
	for _, secret := range []string{password, wrongPassword, asName, brokenForm} {
		if bytes.Contains(all.Bytes(), []byte(secret)) {
			t.Errorf("the database has %s", secret)
		}
	}
}

// sayAll says the secrets in all ways.
func (s *server) sayAll(ctx context.Context, t *testing.T) {
	t.Helper()
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, lines := range [][]string{
		{"AUTH PLAIN " + encode("\x00"+user+"\x00"+wrongPassword), "535"},
		{"AUTH PLAIN", "334", encode("\x00" + user + "\x00" + wrongPassword), "535"},
		{"AUTH LOGIN", "334", encode(asName), "334", encode(wrongPassword), "535"},
		{"AUTH LOGIN " + encode(user), "334", encode(wrongPassword), "535"},
		{"AUTH PLAIN " + encode(brokenForm), "501"},
		{"AUTH PLAIN " + brokenForm + "!", "501"},
		{"AUTH SCRAM-SHA-256 " + encode(brokenForm), "501"},
		{"AUTH XOAUTH2 " + encode("user=joe\x01auth=Bearer "+brokenForm+"\x01\x01"), "504"},
		{"AUTH " + brokenForm, "501"},
		{encode("\x00" + user + "\x00" + brokenForm), "500"}, // out of step
		{"AUTH PLAIN " + encode("\x00"+user+"\x00"+password), "235"},
	} {
		c, greeting, err := s.connect(ctx, "127.0.3.1")
		if c == nil {
			t.Fatalf("%s, %v", greeting, err)
		}
		for i := 0; i < len(lines); i += 2 {
			reply, err := c.say(lines[i])
			if err != nil || !strings.HasPrefix(reply, lines[i+1]) {
				t.Errorf("to %q the server says %q, %v", lines[i], reply, err)
			}
		}
		_, err = c.say("QUIT")
		must(t, err)
		c.Close()
	}
}

func (s *server) get(t *testing.T, path string) string {
	t.Helper()
	response, err := http.Get("http://" + s.metrics + path)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return string(text)
}

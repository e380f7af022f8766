package login

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/xdg-go/scram"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// TestSecretsAreNowhere: secrets of every kind, right and wrong, typed where they do not
// belong and in messages that are broken, are in nothing that the server writes, prints or
// answers, what it prints when it is aborted included. Hashes and keys of SCRAM are in the
// database and its backup alone, private keys in the stores of certificates and of signatures and
// in their backup, and the key under which credentials are sealed in its file, and in a backup
// only if that was asked for it.
func TestSecretsAreNowhere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := startSafe(ctx, t)
	shown := shown{}
	s.giveAll(ctx, t, shown)
	s.sayAll(ctx, t)
	id := s.sendOne(ctx, t)

	s.askCommands(ctx, t, shown, id)
	s.askAPI(ctx, t, shown, id)
	shown["metrics"] = s.get(t, "/metrics")
	for _, file := range []string{"cmdline", "environ"} {
		shown.add(t, fmt.Sprintf("/proc/%d/%s", s.PID(), file))
	}
	backup, full := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "full")
	for _, command := range []string{"backup " + backup, "backup --json --with-key-file " + full} {
		out, err := s.try(ctx, "", command)
		mailtest.Must(t, err)
		shown[command] = out
	}
	stored, sealing, keys := s.storedShapes(ctx, t), s.sealingShapes(t), keyShapes(t, s.keys...)
	s.abort(ctx, t)

	instance := filepath.Dir(s.Data())
	for _, dir := range []string{instance, backup, full} {
		shown.addAll(t, dir, func(path string) bool {
			return !inDirectory(path) && !inStore(path) && (dir == backup || !isKeyFile(path))
		})
		databases := shownIn(t, dir, inDirectory)
		databases.lack(t, slices.Concat(clearShapes(), sealing, keys))
		databases.have(t, "$argon2id$")
		store := shownIn(t, dir, inStore)
		store.lack(t, slices.Concat(clearShapes(), stored, sealing))
		store.have(t, "PRIVATE KEY-----")
	}
	shown.lack(t, slices.Concat(clearShapes(), stored, sealing, keys))
	keyFile := shownIn(t, full, isKeyFile)
	keyFile.lack(t, slices.Concat(clearShapes(), stored, keys))
	keyFile.have(t, sealing[0])
}

// inDirectory reports whether a file is one of the database of users, or of its copy.
func inDirectory(path string) bool { return filepath.Base(filepath.Dir(path)) == "directory" }

// inStore reports whether a file is a certificate of the store, with its key.
func inStore(path string) bool {
	dir := filepath.Base(filepath.Dir(path))
	return dir == "certificates" || dir == "dkim"
}

// isKeyFile reports whether a file has the key under which credentials are sealed.
func isKeyFile(path string) bool { return filepath.Base(path) == "credentials.key" }

// shown is what can be read somewhere.
type shown map[string]string

func (s shown) add(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	mailtest.Must(t, err)
	s[path] = string(content)
}

// addAll adds the files below a directory that are wanted.
func (s shown) addAll(t *testing.T, dir string, wanted func(path string) bool) {
	t.Helper()
	mailtest.Must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && wanted(path) {
			s.add(t, path)
		}
		return err
	}))
}

func shownIn(t *testing.T, dir string, wanted func(path string) bool) shown {
	t.Helper()
	s := shown{}
	s.addAll(t, dir, wanted)
	return s
}

func (s shown) lack(t *testing.T, secrets []string) {
	t.Helper()
	for where, text := range s {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s shows %q: %q", where, secret, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
}

// have wants a text to be in one of the files at least.
func (s shown) have(t *testing.T, text string) {
	t.Helper()
	for _, content := range s {
		if strings.Contains(content, text) {
			return
		}
	}
	t.Errorf("none of %d files has %s", len(s), text)
}

// giveAll gives the server secrets as its administrators do, and notes what is printed.
func (s *safe) giveAll(ctx context.Context, t *testing.T, shown shown) {
	t.Helper()
	imports := "cert import second --file " + s.files + "/shop.p12 --passphrase-file " + s.files
	tokens := "credential add office --user joe@example.org --host 127.0.0.1 --token-url https://127.0.0.1:1/token --client-id postern"
	for _, c := range []struct {
		in, command string
		fails       bool
	}{
		{"", "domain add corp.example", false},
		{"", "alias add sales@corp.example --to joe@example.org", false},
		{"", "list add partners --kind domains --entry a.example", false},
		{"", "user add joe --address joe@example.org", false},
		{password, "user password joe", false},
		{canaries.passwordOfPat, "user add pat --password", false},
		{canaries.passwordOfNobody, "user password nobody", true},
		{canaries.passwordTooLong, "user password pat", true},
		{"", imports + "/wrong-passphrase", true},
		{"", imports + "/passphrase", false},
		{"", "cert ca init", false},
		{"", tokens + " --client-secret " + s.files + "/client-secret --refresh-token " + s.files + "/refresh-token", false},
		{canaries.wrongCredential, "credential add office --user x --password-file - --preset nobody", true},
		{canaries.wrongCredential, "credential add relay --user x --password", true},
		{canaries.clientSecret, "credential set office --client-secret -", false},
		{"", "credential set office --client-secret= --client-key " + s.files + "/client-key", false},
		{"", "credential set office --client-key " + s.files + "/client-secret", true},
		{"", "credential list --json", false},
		{"", "credential show office --json", false},
		{"", "credential show relay", false},
		{"", "credential test 127.0.0.1:1 --json", true},
		{"", "credential rekey", false},
	} {
		out, err := s.try(ctx, c.in, c.command)
		if (err != nil) != c.fails {
			t.Fatalf("%s: %v %s", c.command, err, out)
		}
		shown[c.command] = out
	}
}

// sayAll says the secrets in all ways of AUTH.
func (s *safe) sayAll(ctx context.Context, t *testing.T) {
	t.Helper()
	plain := func(user, password string) string { return encode("\x00" + user + "\x00" + password) }
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	jwt := part(`{"alg":"RS256"}`) + "." + part(`{"iss":"https://127.0.0.1:9","sub":"`+canaries.token+`"}`) + "." + part(canaries.token)
	for _, lines := range [][]string{
		{"AUTH PLAIN " + plain(user, canaries.wrongPassword), "535"},
		{"AUTH PLAIN", "334", plain(user, canaries.wrongPassword), "535"},
		{"AUTH LOGIN", "334", encode(canaries.asName), "334", encode(canaries.wrongPassword), "535"},
		{"AUTH LOGIN " + encode(user), "334", encode(canaries.wrongPassword), "535"},
		{"AUTH PLAIN " + encode(canaries.brokenForm), "501"},
		{"AUTH PLAIN " + canaries.brokenForm + "!", "501"},
		{"AUTH SCRAM-SHA-256 " + encode(canaries.brokenForm), "501"},
		{"AUTH XOAUTH2 " + encode("user=joe\x01auth=Bearer "+canaries.brokenForm+"\x01\x01"), "504"},
		{"AUTH " + canaries.brokenForm, "501"},
		{plain(user, canaries.brokenForm), "500"}, // out of step
		{"AUTH PLAIN " + plain("lena", canaries.wrongPassword), "535"},
		{"AUTH PLAIN " + plain("lena", canaries.ldapUser), "235"},
		{"AUTH PLAIN " + plain("far", canaries.passwordOfTheBroken), "454"},
		{"AUTH PLAIN " + plain("far", canaries.serviceUser), "235"},
		{"AUTH LOGIN", "334", encode("pat"), "334", encode(canaries.passwordOfPat), "235"},
		{"AUTH PLAIN " + plain(user, password), "235"},
	} {
		s.talk(ctx, t, s.login, lines)
	}
	s.scram(ctx, t, canaries.wrongPassword, "535")
	s.scram(ctx, t, password, "235")
	for _, lines := range [][]string{
		{"AUTH PLAIN " + plain("lena", canaries.ldapUser), "454"}, // its bind fails
		{"AUTH XOAUTH2 " + encode("user=joe\x01auth=Bearer "+canaries.wrongToken+"\x01\x01"), "334", "", "535"},
		{"AUTH OAUTHBEARER " + encode("n,a=joe,\x01auth=Bearer "+canaries.wrongToken+"\x01\x01"), "334", "AQ==", "535"},
		{"AUTH OAUTHBEARER " + encode("n,a=joe,\x01auth=Bearer "+jwt+"\x01\x01"), "454"}, // its issuer is down
	} {
		s.talk(ctx, t, s.broken, lines)
	}
}

// scram authenticates as joe by SCRAM-SHA-256, and wants a code at last.
func (s *safe) scram(ctx context.Context, t *testing.T, password, code string) {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	mailtest.Must(t, err)
	conversation := client.NewConversation()
	first, err := conversation.Step("")
	mailtest.Must(t, err)
	c, greeting, err := s.connect(ctx, "127.0.3.1")
	if c == nil {
		t.Fatalf("%s, %v", greeting, err)
	}
	defer c.Close()
	reply, err := c.say("AUTH SCRAM-SHA-256 " + encode(first))
	for err == nil && strings.HasPrefix(reply, "334 ") {
		challenge, malformed := base64.StdEncoding.DecodeString(reply[4:])
		mailtest.Must(t, malformed)
		next, wrong := conversation.Step(string(challenge))
		mailtest.Must(t, wrong)
		reply, err = c.say(encode(next))
	}
	if err != nil || !strings.HasPrefix(reply, code) {
		t.Errorf("by SCRAM the server says %q, %v, want %s", reply, err, code)
	}
}

// talk says every other of the lines to a listener, and wants the replies between them.
func (s *safe) talk(ctx context.Context, t *testing.T, address string, lines []string) {
	t.Helper()
	at := &server{login: address}
	c, greeting, err := at.connect(ctx, "127.0.3.1")
	if c == nil {
		t.Fatalf("%s, %v", greeting, err)
	}
	defer c.Close()
	for i := 0; i < len(lines); i += 2 {
		reply, err := c.say(lines[i])
		if err != nil || !strings.HasPrefix(reply, lines[i+1]) {
			t.Errorf("to %q of %q the server says %q, %v", lines[i], lines, reply, err)
		}
	}
	_, err = c.say("QUIT")
	mailtest.Must(t, err)
}

var accepted = regexp.MustCompile(`accepted as (\w+)`)

// sendOne sends a message as joe, which a handler holds, and one as pat, which goes by the smarthost. It
// returns the id of the first.
func (s *safe) sendOne(ctx context.Context, t *testing.T) string {
	t.Helper()
	var id string
	for _, who := range []struct{ user, password, from string }{{"pat", canaries.passwordOfPat, "<>"}, {user, password, "<joe@example.org>"}} {
		c, greeting, err := s.connect(ctx, "127.0.3.1")
		if c == nil {
			t.Fatalf("%s, %v", greeting, err)
		}
		defer c.Close()
		code, err := c.plain(who.user, who.password)
		mailtest.Must(t, err)
		for _, line := range []string{"MAIL FROM:" + who.from, "RCPT TO:<ann@far.example>", "DATA", "Subject: x\r\n\r\nx\r\n."} {
			code, err = c.say(line)
			mailtest.Must(t, err)
		}
		found := accepted.FindStringSubmatch(code)
		if found == nil {
			t.Fatalf("the message of %s: %s", who.user, code)
		}
		id = found[1]
	}
	mailtest.Must(t, harness.Until(ctx, "a delivery by the smarthost", func() (bool, error) {
		out, err := s.Command(ctx, "journal", "find", "--reason", "delivered").Output()
		return bytes.Contains(out, []byte("ann@far.example")), err
	}))
	return id
}

// askCommands notes what the commands print that show something.
func (s *safe) askCommands(ctx context.Context, t *testing.T, shown shown, id string) {
	t.Helper()
	for _, command := range []string{
		"status", "status --json", "check", "check --json", "config show", "config show --effective", "config show --json", "config show --effective --json",
		"user list --json", "user show joe", "user show joe --json", "user export", "user export --format json", "domain export", "alias export", "list export",
		"ban list --json", "senders list --json", "listener list --json", "listener show login", "listener show broken --json",
		"cert list", "cert list --json", "cert show shop", "cert show shop --json", "cert export shop", "cert expiring --json", "store stat --json",
		"journal tail -n 10000", "journal tail -n 10000 --json", "journal show " + id, "journal show --json " + id,
		"journal find --reason login-failed --json", "queue list --json", "queue show " + id, "queue show --json " + id, "site list --json",
		"explain --listener login --user joe --from joe@example.org --to ann@example.org",
		"explain --json --listener login --user lena --from lena@example.org --to ann@example.org",
		"ldap test corp lena", "ldap test broken lena",
	} {
		out, err := s.try(ctx, "", command)
		if err != nil && command != "ldap test broken lena" && command != "cert expiring --json" || strings.Contains(out, "Usage:") {
			t.Errorf("%s: %v %s", command, err, out)
		}
		shown["postern "+command] = out
	}
}

// askAPI notes what every operation of the API answers that shows something, to somebody
// with a token, and to others.
func (s *safe) askAPI(ctx context.Context, t *testing.T, shown shown, id string) {
	t.Helper()
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	text, err := os.ReadFile("../../docs/openapi.json")
	mailtest.Must(t, err)
	mailtest.Must(t, json.Unmarshal(text, &description))
	names := map[string]string{
		"/v1/aliases/": "sales@corp.example", "/v1/domains/": "corp.example", "/v1/lists/": "partners", "/v1/users/": user,
		"/v1/certificates/": "shop", "/v1/messages/": id, "/v1/sites/": "smarthost", "/v1/imports/": id,
		"/v1/senders/": "account:" + user, "/v1/credentials/": "office", "/v1/dkim/domains/": "signed.example", "/v1/targets/": "pool",
	}
	gets := 0
	for path, operations := range description.Paths {
		if _, is := operations["get"]; !is {
			continue
		}
		gets++
		want := http.StatusOK
		if before, after, named := strings.Cut(path, "{"); named {
			name := names[before]
			if name == "" {
				t.Fatalf("there is no name for %s", path)
			}
			_, after, _ = strings.Cut(after, "}")
			path = before + name + strings.Replace(after, "{part}", "1", 1)
		}
		for token, status := range map[string]int{canaries.apiToken: want, canaries.wrongAPIToken: http.StatusUnauthorized} {
			code, answer := s.ask(ctx, t, path, token)
			if code != status {
				t.Errorf("GET %s: %d %.200s", path, code, answer)
			}
			shown[fmt.Sprintf("GET %s (%d)", path, status)] = answer
		}
	}
	if gets < 25 {
		t.Errorf("the API has only %d operations that show something", gets)
	}
}

func (s *safe) ask(ctx context.Context, t *testing.T, path, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	mailtest.Must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	mailtest.Must(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	mailtest.Must(t, err)
	return response.StatusCode, string(answer)
}

// abort has the server print all its goroutines, and end.
func (s *safe) abort(ctx context.Context, t *testing.T) {
	t.Helper()
	mailtest.Must(t, syscall.Kill(s.PID(), syscall.SIGABRT))
	mailtest.Must(t, harness.Until(ctx, "the end of the server", func() (bool, error) { return !s.Running(), nil }))
	log, err := os.ReadFile(s.Log())
	mailtest.Must(t, err)
	for _, want := range []string{"authentication failed", "goroutine ", "level=DEBUG"} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("the log lacks %q:\n%s", want, log[:min(len(log), 2000)])
		}
	}
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func (s *server) get(t *testing.T, path string) string {
	t.Helper()
	response, err := http.Get("http://" + s.metrics + path)
	mailtest.Must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	mailtest.Must(t, err)
	return string(text)
}

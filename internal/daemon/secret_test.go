package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
)

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, mode fs.FileMode) string {
		path := filepath.Join(dir, "password")
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, text := range []string{"hunter2", "hunter2\n", "hunter2\r\n"} {
		for _, mode := range []fs.FileMode{0o600, 0o400, 0o640} {
			if got, err := readFile(write(text, mode)); string(got) != "hunter2" || err != nil {
				t.Errorf("%q, mode %o: %q, %v", text, mode, string(got), err)
			}
		}
	}
	if got, err := readFile(write(strings.Repeat("x", maxSecret)+"\r\n", 0o600)); len(got) != maxSecret || err != nil {
		t.Errorf("the longest: %d octets, %v", len(got), err)
	}
	for _, c := range []struct {
		text string
		mode fs.FileMode
		want error
	}{
		{"hunter2\n", 0o604, errOpenToAll},
		{"hunter2\n", 0o602, errOpenToAll},
		{"", 0o600, errNotSecret},
		{"\n", 0o600, errNotSecret},
		{"hunter2\nhunter3\n", 0o600, errNotSecret},
		{"hun\x00ter2\n", 0o600, errNotSecret},
		{strings.Repeat("hunter2", 100), 0o600, errNotSecret},
	} {
		_, err := readFile(write(c.text, c.mode))
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%.20q, mode %o: %v, want %v", c.text, c.mode, err, c.want)
		}
	}
	if _, err := readFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := readFile(dir); !errors.Is(err, errNoFile) {
		t.Errorf("a directory: %v", err)
	}
}

// readFile reads a secret from a file.
func readFile(path string) (mail.Secret, error) {
	return readSecret(config.Secret{Source: config.SecretFile, Name: path})
}

func TestReadSecretElsewhere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("RELAY_PASSWORD", "hunter2\n")
	t.Setenv("EMPTY", "")
	for name, mode := range map[string]fs.FileMode{"relay": 0o400, "open": 0o444} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("hunter2\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for place, want := range map[string]string{
		"env:RELAY_PASSWORD": "",
		"credential:relay":   "",
		"env:EMPTY":          "env:EMPTY: holds no secret",
		"env:NONE":           "env:NONE: the environment has no such variable",
		"credential:none":    "credential:none: no such file",
		"credential:open":    "credential:open: every user of this machine",
	} {
		source, name, _ := strings.Cut(place, ":")
		got, err := readSecret(config.Secret{Source: config.SecretSource(source), Name: name})
		switch {
		case want == "" && (err != nil || string(got) != "hunter2"):
			t.Errorf("%s: %q, %v", place, string(got), err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter")):
			t.Errorf("%s: %v, want %s", place, err, want)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err := readSecret(config.Secret{Source: config.SecretCredential, Name: "relay"})
	if _, absent := errors.AsType[absentError](err); !absent || !strings.Contains(err.Error(), "LoadCredential=relay:FILE") {
		t.Errorf("without credentials: %v", err)
	}
}

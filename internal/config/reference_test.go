package config

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files that are generated from the table")

// TestGeneratedFiles compares what is generated from the table with what is
// in the repository: go test ./internal/config -update writes it.
func TestGeneratedFiles(t *testing.T) {
	for file, want := range map[string]string{
		"../../docs/configuration.md": Reference(),
		"../../postern.example.toml":  Example(),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the table says; run go test ./internal/config -update (-want +got):\n%s", file, diff)
		}
	}
}

// TestExampleSaysTheDefaults loads the example as it is, and again with
// every comment that is a setting made one.
func TestExampleSaysTheDefaults(t *testing.T) {
	asIs := load(t, Example())
	var lines []string
	for line := range strings.Lines(Example()) {
		if s, found := strings.CutPrefix(line, "# "); found && beginsExpression([]byte(s)) {
			name, _, _ := strings.Cut(s, " =")
			if !slices.Contains([]string{"admin_socket", "tls_certificate", "tls_key", "certificate", "key", "certificates", "names", "email", "ca_file", "max_memory", "servers", "directory", "smarthost_credential", "credential", "key_file", "authorities", "address", "tokens", "digest_to", "sender_addresses", "verify_rewrite", "tls", "tls_ciphers", "client_authorities", "proxy_from", "extensions_off", "mailhub", "router", "near", "hosts_file", "sign", "headers"}, name) {
				line = s
			}
		}
		lines = append(lines, line)
	}
	if diff := cmp.Diff(asIs, load(t, strings.Join(lines, "")), compareValues, ignorePlace); diff != "" {
		t.Errorf("a comment of the example is not the default (-default +comment):\n%s", diff)
	}
}

// TestIntroNamesEveryType holds the table of types and the settings together.
func TestIntroNamesEveryType(t *testing.T) {
	_, rest, _ := strings.Cut(intro, "| type |")
	for i := range settings {
		kind := settings[i].value.kind
		if strings.HasPrefix(kind, "list of ") {
			kind = "list"
		}
		if n := strings.Count(rest, "\n| "+kind+" |"); n != 1 {
			t.Errorf("%s is a %s, a type that the introduction explains %d times", settings[i].key, kind, n)
		}
	}
}

func TestIntroExampleLoads(t *testing.T) {
	_, rest, _ := strings.Cut(intro, "```toml\n")
	file, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("no example in the introduction")
	}
	load(t, file)
}

// TestTable checks what the rows of the table must be.
func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for i := range settings {
		s := &settings[i]
		table, _ := s.split()
		switch {
		case seen[s.key]:
			t.Errorf("%s is in the table twice", s.key)
		case findSection(table) == nil:
			t.Errorf("%s is in a section that does not exist", s.key)
		case s.text == "" || !strings.HasSuffix(s.text, "."):
			t.Errorf("%s has no prose, or prose that does not end", s.key)
		case s.effect != AtReload && s.effect != AtRestart:
			t.Errorf("%s takes effect at %q", s.key, s.effect)
		case s.required && s.byDefault != "":
			t.Errorf("%s is required and has a default", s.key)
		case (s.required || s.byDefault != "") && s.example == "":
			t.Errorf("%s has no value for the example file", s.key)
		}
		seen[s.key] = true
	}
	for i := range settings {
		for _, key := range settings[i].see {
			if !seen[key] || key == settings[i].key {
				t.Errorf("%s refers to %s", settings[i].key, key)
			}
		}
	}
}

func TestDescribe(t *testing.T) {
	for key, want := range map[string]string{
		"listener.max_size":        "default       \"50MiB\"",
		"listener.bare_newline":    "  \"repair\"\n    make each of them a whole line end, CR LF, and each NUL a space\n",
		"journal.keep":             "range         0 to 1000000",
		"hostname":                 "default       required",
		"admin_socket":             "admin.sock in data_dir",
		"delivery.smarthosts":      "see also      delivery.smarthost_tls, delivery.port",
		"delivery":                 "[delivery]\n\n  How mail goes out",
		"[[listener]]":             "[[listener]]\n",
		"listener":                 "listener.address                         required\n",
		"listener.max_s":           "listener.max_size\n",
		"listener.max_c":           "  listener.max_connections                 1000\n  listener.max_connections_per_client      200\n",
		"trust":                    "listener.trust\n",
		"max_recipients":           "  listener.max_recipients                  1000\n  transport.max_recipients                 as delivery.max_recipients\n  submission.max_recipients                10000\n  delivery.max_recipients                  100\n",
		"message.add_message_id":   "takes effect  at reload",
		"data_dir":                 "takes effect  at restart",
		"delivery.retry_reports":   `"1m 5m 15m 30m, every 1h until 1d"`,
		"delivery.command_timeout": "advised       at least \"5m\"",
		"message.max_hops":         "since         0.1",
		"admin.tok":                "Where the tokens are kept; see Secrets.",
		"":                         "  version                                  required\n",
	} {
		list, err := Describe(key)
		if err != nil {
			t.Errorf("Describe(%q): %v", key, err)
			continue
		}
		if text := WriteDescription(list); !strings.Contains(text, want) {
			t.Errorf("Describe(%q) =\n%s\nwant %q in it", key, text, want)
		}
	}
	for key, want := range map[string]string{
		"delivery.connect_timout": "did you mean delivery.connect_timeout?",
		"turst":                   "did you mean trust?",
		"colour":                  "the tables are log, listener",
	} {
		if _, err := Describe(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Describe(%q): %v, want %s", key, err, want)
		}
	}
}

func TestWrap(t *testing.T) {
	var b strings.Builder
	writeWrapped(&b, "# ", strings.Repeat("word ", 30))
	for line := range strings.Lines(b.String()) {
		if len(line) > width+1 || !strings.HasPrefix(line, "# word") {
			t.Errorf("line %q", line)
		}
	}
}

// load reads a file that must be good.
func load(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Load(fstest.MapFS{"postern.toml": {Data: []byte(text)}}, "postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"postern/internal/config"
)

// run runs the program and returns what it printed.
func run(args ...string) (code int, out, errOut string) {
	var stdout, stderr bytes.Buffer
	code = Main(args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestMistakesInTheCommandLine(t *testing.T) {
	const id = "38g934p3c85iftp8"
	for _, test := range []struct{ args, want string }{
		{"deliver", `unknown command "deliver"; see 'postern --help'`},
		{"queue shwo", `unknown command "shwo"; see 'postern queue --help'`},
		{"status now", `unknown argument "now"; see 'postern status --help'`},
		{"queue show", "postern queue show takes the id of one message; see 'postern queue show --help'"},
		{"queue show " + id + " " + id, "postern queue show takes the id of one message; see 'postern queue show --help'"},
		{"journal show x", `"x" is not an id: an id is 16 characters of 0-9 and a-v`},
		{"queue list state = gone", `filter, column 9: state "gone": not a state in the queue; these are queued, deferred and held`},
		{"queue shape size", `filter, column 5: the end behind size, which is compared by = != < > <= >= in`},
		{"queue remove x", `filter, column 1: "x" where a condition should begin; it begins with one of age, sender, recipient, domain, destination, route, state, hold, reason, attempts, size, id, message, class, tag, listener, client; or it is all`},
		{"queue list from = x", "filter, column 1: the field is called sender"},
		{"queue export", "postern queue export takes a directory, and then perhaps a filter or ids; see 'postern queue export --help'"},
		{"queue remove", "which messages? postern queue remove takes a filter, ids, or all; see 'postern queue remove --help'"},
		{"queue hold -", "with ids from standard input nothing can be asked there: add --yes, or --dry-run"},
		{"queue hold all --json", "--json asks no questions: add --yes, or --dry-run"},
		{"queue reroute all", `--to "": domain malformed: empty label`},
		{"queue set-recipient --to joe all", `--to "joe": not an address of the form local-part@domain: no @`},
		{"queue list -n -1", "--limit -1: it must not be negative"},
		{"queue shape -n 1001", "--top 1001: it must be from 0 to 1000"},
		{"suspend sender", "postern suspend sender takes one ADDRESS; see 'postern suspend sender --help'"},
		{"suspend intake now", `unknown argument "now"; see 'postern suspend intake --help'`},
		{"journal tail -n -1", "--lines -1: it must be from 0 to 10000; `postern journal find` looks at all"},
		{"journal tail -n 10001", "--lines 10001: it must be from 0 to 10000; `postern journal find` looks at all"},
		{"config describe a b", "postern config describe takes the name of one setting or table; see 'postern config describe --help'"},
		{"config describe hostnmae", `there is no setting or table "hostnmae" (did you mean hostname?)`},
	} {
		code, out, errOut := run(strings.Fields(test.args)...)
		if code != 2 || out != "" || errOut != "postern: "+test.want+"\n" {
			t.Errorf("%s: got %d, %q, %q", test.args, code, out, errOut)
		}
	}
}

func TestNoConfiguration(t *testing.T) {
	code, _, errOut := run("check", "--config", "nowhere.toml")
	if want := "postern: configuration: open nowhere.toml: no such file or directory (--config names another file)\n"; code != 1 || errOut != want {
		t.Errorf("got %d, %q", code, errOut)
	}
}

func TestErrorsArePrintable(t *testing.T) {
	code, _, errOut := run("check", "--config", "a\x1b[31m\u009b1m\nb")
	if code != 1 || strings.ContainsAny(errOut, "\x1b\u009b") {
		t.Errorf("got %d, %q", code, errOut)
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := run("version", "--json")
	var v struct{ Version, Go string }
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v.Version != version || v.Go == "" {
		t.Errorf("got %d, %q, %v", code, out, err)
	}
}

func TestArguments(t *testing.T) {
	for call, want := range map[string]string{
		"":                              "",
		"postern status":                "status",
		"/usr/bin/postern sendmail -t":  "sendmail -t",
		"/usr/sbin/sendmail -t -i":      "sendmail -t -i",
		"mailq":                         "sendmail -bp",
		"/usr/bin/newaliases":           "sendmail -bi",
		"./sendmail.postfix -t":         "-t",
		"/usr/lib/sendmail joe@example": "sendmail joe@example",
	} {
		if got := strings.Join(Arguments(strings.Fields(call)), " "); got != want {
			t.Errorf("%q: %q, want %q", call, got, want)
		}
	}
}

// Every command tells what it does, and how its flags are called.
func TestHelp(t *testing.T) {
	root := newRoot(&app{out: &output{Writer: new(bytes.Buffer)}, err: new(bytes.Buffer)})
	for _, command := range root.Commands() {
		for _, c := range append(command.Commands(), command) {
			if first := c.Short[:1]; first != strings.ToUpper(first) || strings.HasSuffix(c.Short, ".") {
				t.Errorf("%s: the help is %q: it begins with a capital and has no full stop", c.CommandPath(), c.Short)
			}
			if c.Args == nil {
				t.Errorf("%s takes whatever stands behind it", c.CommandPath())
			}
		}
	}
}

type full struct{ calls int }

var errFull = errors.New("no space left on device")

func (f *full) Write([]byte) (int, error) {
	f.calls++
	return 0, errFull
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	var out full
	var errOut bytes.Buffer
	if code := Main([]string{"version"}, &out, &errOut); code != 1 || errOut.String() != "postern: cannot write the output: no space left on device\n" {
		t.Errorf("got %d, %q", code, errOut.String())
	}
	o := output{Writer: &out}
	for range 2 {
		if _, err := o.Write([]byte("x")); !errors.Is(err, errFull) {
			t.Errorf("got %v", err)
		}
	}
	if out.calls != 2 {
		t.Errorf("%d calls: it was written to after it had failed", out.calls)
	}
}

// wordy is an error that has more to say than its text.
type wordy struct{}

func (wordy) Error() string              { return "text" }
func (wordy) Format(f fmt.State, _ rune) { io.WriteString(f, "stack") }

func TestLogHasTheTextOfErrorsAlone(t *testing.T) {
	for _, format := range []config.LogFormat{config.LogText, config.LogJSON} {
		var log bytes.Buffer
		newLogger(&log, format, slog.LevelInfo).Info("x", "error", wordy{}, "n", 1)
		if !strings.Contains(log.String(), "text") || strings.Contains(log.String(), "stack") {
			t.Errorf("%s: got %s", format, log.String())
		}
	}
}

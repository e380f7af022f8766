package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"postern/internal/admin"
)

// TestUserFlags: what the flags of a user say, and what is wrong in them.
func TestUserFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want map[string]any // nil: it is wrong
		text string         // in the error
	}{
		{"--note x --language de", map[string]any{"note": "x", "language": "de"}, ""},
		{"--service submit,pop", map[string]any{"services": map[string]bool{"submit": true, "relay": false, "pop": true}}, ""},
		{"--service smtp", nil, `--service: "smtp" is no service`},
		{"--address a@x.example,*@y.example --address b@x.example", map[string]any{"addresses": []string{"a@x.example", "*@y.example", "b@x.example"}}, ""},
		{"--address=", map[string]any{"addresses": []string{}}, ""},
		{"--max-size 10MiB --messages-per-hour 5", map[string]any{"limits": map[string]any{"max_size": int64(10 << 20), "messages_per_hour": int64(5)}}, ""},
		{"--max-size 10MB", nil, `--max-size "10MB"`},
		{"--messages-per-hour -1", nil, "it is not a whole number"},
		{"--expires never", map[string]any{"expires": time.Time{}}, ""},
		{"--expires tomorrow", nil, "it is not a time"},
		{"--network 192.0.2.0/33", nil, `"192.0.2.0/33" is neither an IP address nor a network`},
		{"--password", map[string]any{"password": "correct horse"}, ""},
	} {
		cmd := &cobra.Command{Use: "add"}
		cmd.SetIn(strings.NewReader("correct horse\r\nbattery\n"))
		f := &recordFlags{FlagSet: cmd.Flags(), cmd: cmd}
		(&app{err: io.Discard}).userSettings(f)
		if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatalf("%s: %v", c.args, err)
		}
		got, err := f.fields()
		switch {
		case c.want == nil && (!errors.As(err, new(usageError)) || !strings.Contains(err.Error(), c.text)):
			t.Errorf("%s: %v, want %q", c.args, err, c.text)
		case c.want != nil && err != nil:
			t.Errorf("%s: %v", c.args, err)
		case c.want != nil:
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.args, diff)
			}
		}
	}
}

func TestNetworks(t *testing.T) {
	got, err := networks([]string{"192.0.2.1", "10.0.0.0/8", "2001:db8::1"})
	if err != nil || fmt.Sprint(got) != "[192.0.2.1/32 10.0.0.0/8 2001:db8::1/128]" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReadPassword(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"secret\n", "secret"}, {" se cret ", " se cret "}, {"first\r\nsecond\n", "first"}, {"", ""}, {"\nsecond\n", ""},
	} {
		got, err := readPassword(strings.NewReader(c.in), io.Discard)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v", c.in, got, err)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for _, c := range []struct{ format, file, want string }{
		{"", "users.csv", "csv"}, {"", "users.JSON", "json"}, {"", "-", "csv"}, {"json", "users.csv", "json"}, {"csv", "users.json", "csv"}, {"xml", "", ""},
	} {
		if got, err := formatOf(c.format, c.file); string(got) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q of %q: %q, %v", c.format, c.file, got, err)
		}
	}
}

// TestShownUser: a person sees what matters, and nothing that a terminal would obey.
func TestShownUser(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &output{Writer: &out}}
	u := admin.User{Login: "joe", Enabled: true, Expires: time.Now().Add(-time.Hour), HasPassword: true, Note: "a\x1b[31mb", FailedLogins: 1}
	a.showUser(&u)
	for _, want := range []string{"user          joe, expired\n", "known by      password\n", "FAILED        1 login since\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "groups") {
		t.Errorf("shown is:\n%q", out.String())
	}
	u.Enabled = false
	if got := userRow(&u); !strings.HasPrefix(got, "joe\tdisabled\t-\tpassword\tnever\t-") {
		t.Errorf("the row is %q", got)
	}
}

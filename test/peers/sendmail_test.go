package peers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"postern/test/harness"
)

// programmed is a Postern that takes mail by sendmail, and the sink behind it.
type programmed struct {
	*harness.Postern
	t        *testing.T
	sendmail string // what programs call
	spool    string
	taken    chan harness.Arrival
}

// startProgrammed starts one.
func startProgrammed(ctx context.Context, t *testing.T) *programmed {
	t.Helper()
	p := &programmed{t: t, taken: make(chan harness.Arrival, 10), spool: filepath.Join(directory(t), "spool")}
	sink := startSink(t, func(a *harness.Arrival) string {
		a.Content = bytes.Clone(a.Content)
		p.taken <- *a
		return ""
	})
	p.Postern = startPosternWith(ctx, t, sink.Addr(), "[submission]\ndirectory = "+strconv.Quote(p.spool))
	p.sendmail = filepath.Join(filepath.Dir(p.Binary()), "sendmail")
	if err := os.Symlink(p.Binary(), p.sendmail); err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs a program as an unprivileged user, with the text as its input.
func (p *programmed) run(ctx context.Context, input, name string, args ...string) ([]byte, error) {
	p.t.Helper()
	command := exec.CommandContext(ctx, name, args...)
	command.Stdin = strings.NewReader(input)
	command.Dir = "/"
	command.Env = append(os.Environ(), "POSTERN_SUBMISSION="+p.spool, "HOME=/nonexistent", "TMPDIR=/tmp")
	if os.Getuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: nobody(p.t)}
	}
	out, err := command.CombinedOutput()
	p.t.Logf("%s: %v %s", name, err, out)
	return out, err
}

func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
}

// arrival waits for a message at the sink.
func (p *programmed) arrival(ctx context.Context) harness.Arrival {
	p.t.Helper()
	select {
	case a := <-p.taken:
		return a
	case <-ctx.Done():
		p.t.Fatal("the message did not arrive")
	}
	return harness.Arrival{}
}

const (
	phpScript = `$sent = mail("php@example.net", "Hello", "first\n.\nmarker\n",
		"From: sender@example.org\r\nX-Test: yes", "-fsender@example.org");
	exit($sent ? 0 : 1);`

	cronText = `From: root (Cron Daemon)
To: root
Subject: Cron <root@host> run-parts /etc/cron.hourly
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
X-Cron-Env: <SHELL=/bin/sh>

run-parts: /etc/cron.hourly/x: übel
.
marker
`
)

// TestPrograms sends a message with what programs of a host send with, as a
// user without privileges: to a server that is there, and to one that is not
// and starts later.
func TestPrograms(t *testing.T) {
	programs := []struct {
		name, program string
		arguments     func(sendmail string) []string
		input         string
		from, to      string
		lines         []string
	}{
		{
			name: "PHP", program: "php", to: "php@example.net",
			arguments: func(sendmail string) []string {
				return []string{"-n", "-d", "sendmail_path=" + sendmail + " -t -i", "-r", phpScript}
			},
			lines: []string{"To: php@example.net", "Subject: Hello", "X-Test: yes", "first", ".", "marker"},
		},
		{
			name: "mutt", program: "mutt", to: "mutt@example.net", input: "first\n.\nmarker\n",
			arguments: func(sendmail string) []string {
				return []string{
					"-n", "-F", "/dev/null", "-e", `set sendmail="` + sendmail + ` -oem -oi"`, "-e", "set copy=no from=sender@example.org use_envelope_from=yes",
					"-s", "Hello", "--", "mutt@example.net",
				}
			},
			lines: []string{"To: mutt@example.net", "Subject: Hello", "first", ".", "marker"},
		},
		{
			name: "s-nail", program: "s-nail", to: "snail@example.net", input: "first\n.\nmarker\n",
			arguments: func(sendmail string) []string {
				return []string{"-:/", "-S", "v15-compat", "-S", "mta=file://" + sendmail, "-r", "sender@example.org", "-s", "Hello", "snail@example.net"}
			},
			lines: []string{"To: snail@example.net", "Subject: Hello", "first", ".", "marker"},
		},
		{
			name: "cron", program: "sh", from: "nobody@postern.test.example", to: "postmaster@example.org", input: cronText,
			arguments: func(sendmail string) []string {
				return []string{"-c", `exec "$0" -i -FCronDaemon -B8BITMIME -oem root`, sendmail}
			},
			lines: []string{
				"From: root@postern.test.example (Cron Daemon)", "To: root@postern.test.example", "run-parts: /etc/cron.hourly/x: übel", ".", "marker",
			},
		},
	}
	for _, c := range programs {
		t.Run(c.name, func(t *testing.T) {
			path := program(t, c.program)
			ctx := bounded(t)
			p := startProgrammed(ctx, t)
			for _, up := range []bool{true, false} {
				if !up {
					if err := p.Stop(); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := p.run(ctx, c.input, path, c.arguments(p.sendmail)...); err != nil {
					t.Fatalf("server up %v: %v", up, err)
				}
				if !up {
					if err := p.Start(ctx); err != nil {
						t.Fatal(err)
					}
				}
				a := p.arrival(ctx)
				if c.from != "" && os.Getuid() == 0 {
					if a.From != c.from {
						t.Errorf("arrived from <%s>, want <%s>", a.From, c.from)
					}
					a.From = "sender@example.org"
				}
				checkArrival(t, a, c.to, c.lines)
			}
			if err := harness.UntilEmpty(ctx, p); err != nil {
				t.Error(err)
			}
			if n := len(p.taken); n > 0 {
				t.Errorf("%d more messages arrived", n)
			}
		})
	}
}

// TestProgramsAreMisused: somebody who chooses what a program passes on gets
// neither options nor recipients of his own.
func TestProgramsAreMisused(t *testing.T) {
	php := program(t, "php")
	ctx := bounded(t)
	p := startProgrammed(ctx, t)
	trophy := filepath.Join(t.TempDir(), "shell.php")
	for name, code := range map[string]string{
		"log file":            `mail("a@example.net", "<?php ?>", "x", "", "-fsender@example.org -X` + trophy + `")`,
		"log file, quoted":    `mail("a@example.net", "s", "x", "", "-f\"sender\\\" -X` + trophy + ` \"@example.org")`,
		"configuration":       `mail("a@example.net", "s", "x", "", "-fsender@example.org -C/etc/shadow")`,
		"option as recipient": `mail("-X` + trophy + `", "s", "x", "", "-fsender@example.org")`,
	} {
		if _, err := p.run(ctx, "", php, "-n", "-d", "sendmail_path="+p.sendmail+" -t -i", "-r", "exit("+code+" ? 1 : 0);"); err != nil {
			t.Errorf("%s: it was sent", name)
		}
	}
	for name, args := range map[string][]string{
		"option behind a recipient":  {"a@example.net", "-X" + trophy},
		"option behind the end":      {"--", "-X" + trophy},
		"line in a recipient":        {"a@example.net\neve@example.net"},
		"line in the sender":         {"-f", "sender@example.org\nRCPT TO:<eve@example.net>", "a@example.net"},
		"line in the name of sender": {"-F", "x\nBcc: eve@example.net", "a@example.net"},
	} {
		if _, err := p.run(ctx, "Subject: x\n\nx\n", p.sendmail, args...); err == nil {
			t.Errorf("%s: it was sent", name)
		}
	}
	// PHP itself takes this line apart.
	code := `mail("a@example.net", "s\r\nBcc: eve@example.net", "x", "From: sender@example.org", "-fsender@example.org")`
	if _, err := p.run(ctx, "", php, "-n", "-d", "sendmail_path="+p.sendmail+" -t -i", "-r", "exit("+code+" ? 0 : 1);"); err != nil {
		t.Error("a line in the subject: it was not sent")
	}
	if a := p.arrival(ctx); len(a.To) != 1 || a.To[0] != "a@example.net" {
		t.Errorf("arrived for %q", a.To)
	}
	if _, err := os.Lstat(trophy); err == nil {
		t.Error("a file was written")
	}
	if err := harness.UntilEmpty(ctx, p); err != nil {
		t.Error(err)
	}
	if n := len(p.taken); n > 0 {
		t.Errorf("%d messages that were refused arrived", n)
	}
}

// TestHostileUsers: a server that is not root either, and a user who would read,
// remove or replace what another has left, or hold the server up.
func TestHostileUsers(t *testing.T) {
	if os.Getuid() != 0 {
		lack(t, errors.New("only root can be several users"))
	}
	setpriv := program(t, "setpriv")
	ctx := bounded(t)
	p := startProgrammed(ctx, t)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	// From now on the server is the user mail.
	wrapper := filepath.Join(filepath.Dir(p.Binary()), "as-mail")
	script := "#!/bin/sh\nexec " + setpriv + " --reuid=mail --regid=mail --clear-groups " + p.Binary() + " \"$@\" --user mail\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(p.Data()), p.spool} {
		if out, err := exec.CommandContext(ctx, "chown", "-R", "mail:mail", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	if err := p.StartAs(ctx, wrapper); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	as := func(who, command string) error {
		out, err := exec.CommandContext(ctx, setpriv, "--reuid="+who, "--regid=nogroup", "--clear-groups", "env",
			"POSTERN_SUBMISSION="+p.spool, "SENDMAIL="+p.sendmail, "DROP="+p.spool+"/drop", "sh", "-c", command).CombinedOutput()
		t.Logf("%s: %s: %v %s", who, command, err, out)
		return err
	}
	if err := as("games", `umask 077; echo private | $SENDMAIL -f games@example.org joe@example.net`); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(p.spool, "drop", "m-*"))
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	for _, command := range []string{"ls $DROP", "cat " + left[0], "rm " + left[0], "mv " + left[0] + " $DROP/x", "echo >" + left[0], "ln " + left[0] + " $DROP/x", "ls $DROP/../taken"} {
		if as("nobody", command+" </dev/null") == nil {
			t.Errorf("%s: nobody may do that", command)
		}
	}
	for _, command := range []string{
		"mkdir $DROP/d; echo >$DROP/d/m-x", "mkfifo $DROP/m-fifo", "ln -s /etc/shadow $DROP/m-link", "echo x >$DROP/m-shut; chmod 0 $DROP/m-shut",
		"i=0; while [ $i -lt 600 ]; do : >$DROP/m-$i; i=$((i+1)); done",
	} {
		if err := as("nobody", command); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.StartAs(ctx, wrapper); err != nil {
		t.Fatal(err)
	}
	if a := p.arrival(ctx); a.From != "games@example.org" || len(a.To) != 1 || a.To[0] != "joe@example.net" {
		t.Errorf("arrived from <%s> to %q", a.From, a.To)
	}
	// All that can be removed goes.
	err = harness.Until(ctx, "the drop directory is empty but for a directory", func() (bool, error) {
		entries, err := os.ReadDir(filepath.Join(p.spool, "drop"))
		return len(entries) == 1 && entries[0].Name() == "d", err
	})
	if err != nil {
		t.Error(err)
	}
	if n := len(p.taken); n > 0 {
		t.Errorf("%d more messages arrived", n)
	}
}

// checkArrival checks a message of one recipient by lines that must be in it.
func checkArrival(t *testing.T, a harness.Arrival, recipient string, lines []string) {
	t.Helper()
	if a.From != "sender@example.org" || len(a.To) != 1 || a.To[0] != recipient {
		t.Errorf("arrived from <%s> to %v", a.From, a.To)
	}
	fields, rest := harness.CutReceived(a.Content)
	if fields != 1 {
		t.Errorf("%d Received fields on top, want 1", fields)
	}
	for _, line := range lines {
		if !strings.Contains("\r\n"+string(rest), "\r\n"+line+"\r\n") {
			t.Errorf("line %q is missing in %q", line, rest)
		}
	}
}

package peers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// dovecotConfig is that of a Dovecot which takes mail by LMTP alone, behind a socket and
// at a port.
const dovecotConfig = `
base_dir = DIR/run
log_path = DIR/log
protocols = lmtp
ssl = no
first_valid_uid = 1
mail_location = maildir:~/Maildir
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = DIR/users
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
`

// dovecot is one that runs for a test.
type dovecot struct {
	dir  string
	port int
}

func (d *dovecot) socket() string { return filepath.Join(d.dir, "run", "lmtp") }

// messages are those in the mailbox of a user.
func (d *dovecot) messages(user string) []string {
	files, _ := filepath.Glob(filepath.Join(d.dir, "mail", user, "Maildir", "new", "*"))
	return files
}

// startDovecot starts one with the mailboxes of joe, and of ann, which nobody can write to.
// It needs root, as Dovecot does to become the owner of a mailbox.
func startDovecot(ctx context.Context, t *testing.T) *dovecot {
	t.Helper()
	binary := program(t, "dovecot")
	if os.Getuid() != 0 {
		lack(t, fmt.Errorf("dovecot: it is started by root"))
	}
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	d := &dovecot{dir: directory(t), port: port}
	if err := os.Mkdir(filepath.Join(d.dir, "mail"), 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	var users strings.Builder
	for name, mode := range map[string]os.FileMode{"joe": 0o700, "ann": 0o500} {
		home := filepath.Join(d.dir, "mail", name)
		fmt.Fprintf(&users, "%s@x.example::%d:%d::%s::\n%s@y.example::%d:%d::%s::\n", name, nobody, nobody, home, name, nobody, nobody, home)
		if err := os.Mkdir(home, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	config := strings.NewReplacer("DIR", d.dir, "PORT", fmt.Sprint(port)).Replace(dovecotConfig)
	for name, text := range map[string]string{"users": users.String(), "dovecot.conf": config} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "-F", "-c", filepath.Join(d.dir, "dovecot.conf"))
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("dovecot: %s", output.String())
		}
	})
	err = harness.Until(ctx, "Dovecot listens", func() (bool, error) {
		for network, address := range map[string]string{"unix": d.socket(), "tcp4": harness.Loopback(d.port)} {
			conn, err := net.Dial(network, address)
			if err != nil {
				return false, nil
			}
			conn.Close()
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDovecotLMTP: mail goes to the mailboxes of a Dovecot by LMTP, behind a Unix socket and
// at a port. One recipient gets it, one is deferred after the end of data because of a
// mailbox that cannot be written, and one is unknown, in one transaction (RFC 2033 4.2).
func TestDovecotLMTP(t *testing.T) {
	ctx := bounded(t)
	box := startDovecot(ctx, t)
	postern := startPosternWith(ctx, t, "", fmt.Sprintf(`
[[transport]]
name = "socket"
kind = "lmtp"
hosts = ["unix:%s"]
tls = "none"

[[transport]]
name = "port"
kind = "lmtp"
hosts = ["localhost:%d"]

[[route]]
name = "y"
recipients = ["*@y.example"]
transport = "port"

[routing]
mailhub = "socket"
`, box.socket(), box.port))
	client, greeting := mailtest.NewClient(t, netip.MustParseAddrPort(postern.Addr()))
	if !greeting.Success() || !client.Command("EHLO client.example").Success() {
		t.Fatal(greeting)
	}
	to := []string{"joe@x.example", "ann@x.example", "nobody@x.example", "joe@y.example"}
	if r := client.Send("", to, []byte("Subject: to a mailbox\r\n\r\n.text\r\n")); !r.Success() {
		t.Fatal(r)
	}
	ended := make(map[string]string)
	err := harness.Until(ctx, "all recipients are attempted", func() (bool, error) {
		facts, err := harness.ReadJournal(postern.Journal())
		for _, f := range facts {
			if f.Reply != nil && f.Attempt == 1 && (f.Reason == mail.ReasonFor(mail.Delivered) || f.Reason == mail.ReasonDeferred || f.Reason == mail.ReasonDead) {
				for _, r := range f.To {
					ended[r] = fmt.Sprintf("%s %s %d", f.Reason, f.Command, f.Reply.Code)
				}
			}
		}
		return len(ended) == len(to), err
	})
	if err != nil {
		t.Errorf("%v: %v", err, ended)
	}
	for r, want := range map[string]string{
		"joe@x.example": "delivered end of data 250", "joe@y.example": "delivered end of data 250",
		"ann@x.example": "deferred end of data 451", "nobody@x.example": "dead RCPT 550",
	} {
		if ended[r] != want {
			t.Errorf("%s: %s, want %s", r, ended[r], want)
		}
	}
	messages := box.messages("joe")
	if len(messages) != 2 {
		t.Fatalf("%d messages in the mailbox, want 2", len(messages))
	}
	content, err := os.ReadFile(messages[0])
	if err != nil || !bytes.Contains(content, []byte("\n.text\n")) {
		t.Errorf("%v: %s", err, content)
	}
}

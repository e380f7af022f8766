package peers

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"postern/test/harness"
)

// smtplibScript sends a message with what Python's standard library has.
const smtplibScript = `
import smtplib, sys
from email.message import EmailMessage
host, port = sys.argv[1].split(":")
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "sender@example.org", "python@example.net", "Grüße"
m["Message-ID"] = "<python@harness.example>"
m.set_content("Bis später\n.\nmarker\n", cte="8bit")
with smtplib.SMTP(host, int(port)) as s:
    refused = s.send_message(m)
    assert refused == {}, refused
`

// TestClients sends a message to Postern with each of the tools that people
// reach for first.
func TestClients(t *testing.T) {
	clients := []struct {
		name, program string
		arguments     func(addr string) []string
		recipient     string
		lines         []string // of the content that must arrive
	}{
		{
			name: "swaks", program: "swaks", recipient: "swaks@example.net",
			arguments: func(addr string) []string {
				return []string{
					"--server", addr, "--from", "sender@example.org", "--to", "swaks@example.net",
					"--h-Message-Id", "<swaks@harness.example>", "--body", "first\\n.\\nmarker", "--pipeline",
				}
			},
			lines: []string{"To: swaks@example.net", "first", ".", "marker"},
		},
		{
			name: "smtplib", program: "python3", recipient: "python@example.net",
			arguments: func(addr string) []string { return []string{"-c", smtplibScript, addr} },
			lines:     []string{"Message-ID: <python@harness.example>", "Bis später", ".", "marker"},
		},
	}
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			path := program(t, client.program)
			ctx := bounded(t)
			taken := make(chan harness.Arrival, 10)
			sink := startSink(t, func(a *harness.Arrival) string {
				a.Content = bytes.Clone(a.Content)
				taken <- *a
				return ""
			})
			postern := startPostern(ctx, t, sink.Addr())
			send := exec.CommandContext(ctx, path, client.arguments(postern.Addr())...)
			if out, err := send.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", send.Args, err, out)
			}
			select {
			case a := <-taken:
				checkArrival(t, a, client.recipient, client.lines)
			case <-ctx.Done():
				t.Fatal("the message did not arrive")
			}
			if err := harness.UntilEmpty(ctx, postern); err != nil {
				t.Error(err)
			}
			if n := len(taken); n > 0 {
				t.Errorf("%d more messages arrived", n)
			}
		})
	}
}

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

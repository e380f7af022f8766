package peers

import (
	"bytes"
	"os/exec"
	"testing"

	"postern/test/harness"
)

// eightBitScript makes a message with 8-bit octets in parts of every kind. As
// "send" it sends it, as "check" it compares what its parts are in what
// arrived, decoded, with what they were.
const eightBitScript = `
import sys, smtplib
from email import message_from_bytes, policy
from email.message import EmailMessage
p = policy.SMTP.clone(cte_type="8bit")
def make():
    inner = EmailMessage(policy=p)
    inner["From"], inner["Subject"] = "a@example.org", "inner"
    inner.set_content("привет, мир\n.\n", cte="8bit")
    m = EmailMessage(policy=p)
    m["From"], m["To"], m["Subject"] = "sender@example.org", "r@example.net", "parts"
    m["Message-ID"] = "<parts@harness.example>"
    m.set_content("Bis später, und \t\nZeile = mit Leerraum \n.\n", cte="8bit")
    m.add_alternative("<p>Größe: 10 €</p>\n" + "x" * 200 + "\n", subtype="html", cte="8bit")
    m.add_attachment(inner)
    m.add_attachment(b"plain ASCII\r\n", maintype="application", subtype="x-plain", cte="7bit")
    return m
def parts(m):
    return [(x.get_content_type(), x.get_payload(decode=True)) for x in m.walk() if not x.is_multipart()]
if sys.argv[1] == "send":
    host, port = sys.argv[2].split(":")
    with smtplib.SMTP(host, int(port)) as s:
        s.sendmail("sender@example.org", ["r@example.net"], make().as_bytes(), mail_options=["BODY=8BITMIME"])
else:
    raw = sys.stdin.buffer.read()
    raw.decode("ascii")
    want, got = parts(message_from_bytes(make().as_bytes(), policy=p)), parts(message_from_bytes(raw, policy=p))
    assert len(want) == 4 and got == want, (got, want)
`

// TestDownConversion sends a message with 8-bit octets through Postern to a
// Postfix that does not offer 8BITMIME. What arrives is 7-bit, and Python finds
// in it what was sent.
func TestDownConversion(t *testing.T) {
	python := program(t, "python3")
	ctx := bounded(t)
	taken := make(chan []byte, 1)
	sink := startSink(t, func(a *harness.Arrival) string {
		taken <- bytes.Clone(a.Content)
		return ""
	})
	receiver := startPostfix(ctx, t, "receiver", sink.Addr(), "smtpd_discard_ehlo_keywords = 8bitmime")
	postern := startPostern(ctx, t, receiver.Addr())
	send := exec.CommandContext(ctx, python, "-c", eightBitScript, "send", postern.Addr())
	if out, err := send.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var content []byte
	select {
	case content = <-taken:
	case <-ctx.Done():
		t.Fatal("the message did not arrive")
	}
	check := exec.CommandContext(ctx, python, "-c", eightBitScript, "check")
	check.Stdin = bytes.NewReader(content)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, content)
	}
}

package mime

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"testing"

	"postern/internal/charset"
	"postern/internal/mail"
	"postern/internal/message"
)

// composeScript makes messages with texts, names and fields in several charsets, in all encodings.
const composeScript = `
import sys, json, base64
from email.message import EmailMessage
from email.header import Header
from email import policy
texts = {"utf-8": "Grüße, привет, 中文 €", "iso-8859-1": "Viele Grüße = ß\u00a0", "koi8-r": "привет, мир", "iso-2022-jp": "日本語 abc あ", "big5": "中文", "gb18030": "中文 ß €", "windows-1252": "10 € „x“", "utf-16": "wide ß"}
made = {}
for name, text in texts.items():
    for cte in ["8bit", "quoted-printable", "base64"]:
        if name == "utf-16" and cte != "base64":
            continue
        m = EmailMessage(policy=policy.SMTP.clone(cte_type="8bit"))
        m["From"] = "a@example.org"
        m.set_content("x")
        del m["Content-Type"], m["Content-Transfer-Encoding"]
        body = (text + "\r\n--b\r\n" + text * 30 + "\r\n").encode(name)
        m["Content-Type"] = 'text/plain; format=flowed; charset="%s"' % name
        m["Content-Transfer-Encoding"] = cte
        encoded = {"8bit": lambda: body, "quoted-printable": lambda: __import__("quopri").encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"), "base64": lambda: base64.encodebytes(body).replace(b"\n", b"\r\n")}[cte]()
        head = "".join("%s: %s\r\n" % (k, v) for k, v in m.items())
        head += "Subject: " + Header(text * 3, name if name != "utf-16" else "utf-8").encode(linesep="\r\n") + "\r\n"
        inner = head.encode() + b"\r\n" + encoded
        name2 = "utf-8" if name == "utf-16" else name
        from urllib.parse import quote
        attachment = ("Content-Type: image/x\r\nContent-Disposition: attachment; filename*=%s''%s\r\n\r\nx" % (name2, quote(text.encode(name2), safe=""))).encode()
        quoted = ("Content-Type: image/x\r\nContent-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\nx" % Header(text, name2).encode(linesep="\r\n")).encode()
        made[name + " " + cte] = inner
        made[name + " in parts " + cte] = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n--b0\r\n" + inner + b"\r\n--b0\r\n" + attachment + b"\r\n--b0\r\n" + quoted + b"\r\n--b0--\r\n"
json.dump({k: base64.b64encode(v).decode() for k, v in made.items()}, sys.stdout)
`

// compareScript tells which of pairs of messages are not the same mail for Python, and which texts are in another charset than they should
// be.
const compareScript = `
import sys, json, base64
from email import message_from_bytes, policy
def text(p):
    try:
        return p.get_content()
    except Exception:
        return p.get_payload(decode=True)
def read(raw):
    m = message_from_bytes(raw, policy=policy.default)
    found = []
    for p in m.walk():
        one = [p.get_content_type(), str(p["Subject"]), str(p["From"]), str(p["To"])]
        try:
            one.append(p.get_filename())
        except Exception as e:
            one.append(repr(e))
        if not p.is_multipart():
            one.append(text(p) if p.get_content_maintype() == "text" else p.get_payload(decode=True))
            if isinstance(one[-1], str):
                one[-1] = one[-1].replace("\r\n", "\n").lstrip("\ufeff")
        found.append(one)
    return found
def charsets(raw):
    return {p.get_content_charset() for p in message_from_bytes(raw, policy=policy.default).walk()
        if p.get_content_maintype() == "text" and p.get_content_charset() and any(c > 127 for c in p.get_payload(decode=True))}
wrong = []
for pair in json.load(sys.stdin):
    before, after = base64.b64decode(pair["Before"]), base64.b64decode(pair["After"])
    if read(before) != read(after):
        wrong.append([pair["Name"]] + [repr((a, b)) for p, q in zip(read(before), read(after)) for a, b in zip(p, q) if a != b])
    if pair["Made"] and charsets(after) - {pair["Charset"]}:
        wrong.append([pair["Name"], "texts in", repr(charsets(after))])
json.dump(wrong, sys.stdout)
`

// conversion is a message before and after it was converted.
type conversion struct {
	Name, Charset string
	Made          bool // it is none of the corpus
	Before, After []byte
}

// TestConvertedMailIsTheSame: what is converted to the charset of a target is the same mail for Python: parts, texts, names of parts,
// and fields; and all texts are in that charset (RFC 2045, RFC 2047, RFC 2231).
func TestConvertedMailIsTheSame(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		lack(t, err.Error())
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", composeScript).Output()
	if err != nil {
		t.Fatal(err)
	}
	var made map[string][]byte
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatal(err)
	}
	var pairs []conversion
	for name, content := range made {
		pairs = append(pairs, convertAll(t, conversion{Name: name, Made: true, Before: content})...)
	}
	if len(pairs) < 2*len(made) {
		t.Errorf("of %d messages only %d were converted", len(made), len(pairs))
	}
	corpus := readCorpus(t)
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		pairs = append(pairs, convertAll(t, conversion{Name: name, Before: corpus[name]})...)
	}
	in, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	compare := exec.CommandContext(t.Context(), python, "-c", compareScript)
	compare.Stdin = bytes.NewReader(in)
	if out, err = compare.Output(); err != nil {
		t.Fatal(err)
	}
	var wrong [][]string
	if err := json.Unmarshal(out, &wrong); err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Errorf("%.1500q", w)
	}
}

// convertAll returns a message in all charsets in which it can be, in 8 bits and in 7, as far as it is changed.
func convertAll(t *testing.T, c conversion) []conversion {
	t.Helper()
	var pairs []conversion
	for _, name := range []string{"iso-8859-1", "utf-8", "koi8-r", "iso-2022-jp", "big5", "gb18030", "us-ascii"} {
		to, err := charset.ForMail(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []message.Form{{Charset: to}, {Charset: to, SevenBit: true}} {
			converted, err := message.Convert(bytes.NewReader(c.Before), int64(len(c.Before)), form)
			if _, refused := errors.AsType[*mail.Error](err); refused {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			after, err := io.ReadAll(converted.Reader())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(after, c.Before) {
				p := c
				p.Name, p.Charset, p.After = c.Name+" to "+name, name, after
				pairs = append(pairs, p)
			}
		}
	}
	return pairs
}

package dkim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mail"
)

// TestSigner: who signs is the author's domain, then the sender's, each with the domains
// above it.
func TestSigner(t *testing.T) {
	b := newBench(t)
	for _, domain := range []string{"example.org", "sub.example.com", "host.example.net"} {
		if _, err := b.Add("eve", KeyOrder{Domain: domain, Selector: "a", Algorithm: Ed25519, Now: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Add("eve", KeyOrder{Domain: "waiting.example", Selector: "a", Algorithm: Ed25519}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(b.Store.files.Dir()), "a._domainkey.sub.example.com.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.Store, err = OpenStore(string(b.Store.files.Dir()), b.clock); err != nil {
		t.Fatal(err)
	}
	all := Signing{Store: b.Store, Parents: true, Envelope: true, Hostname: "mx.host.example.net", Clock: b.clock}
	strict := all
	strict.Parents, strict.Envelope = false, false
	companies := all
	companies.Parents, companies.Hostnames = false, []string{"mail.example.org", "mail.keyless.example"}
	some := all
	some.Domains = []string{"example.org", "waiting.example", "missing.example"}
	for _, c := range []struct {
		name           string
		of             *Signing
		author, sender string
		want           string // "451": it cannot be signed
	}{
		{"the author", &all, "example.org", "a@elsewhere.example", "example.org"},
		{"in capitals", &all, "EXAMPLE.org", "", "example.org"},
		{"above the author", &all, "a.b.example.org", "", "example.org"},
		{"above, but not wanted", &strict, "a.example.org", "a@example.org", ""},
		{"a domain with the same end", &all, "badexample.org", "a@elsewhere.example", ""},
		{"the sender", &all, "elsewhere.example", "bounces@news.example.org", "example.org"},
		{"the sender, but not wanted", &strict, "elsewhere.example", "a@example.org", ""},
		{"no sender", &all, "elsewhere.example", "", "host.example.net"},
		{"a report of a company", &companies, "MAIL.example.org", "", "example.org"},
		{"a report of a company without a key", &companies, "mail.keyless.example", "", ""},
		{"a report of this host, which has companies", &companies, "mx.host.example.net", "", "host.example.net"},
		{"mail to a company's host, by its author's word", &companies, "mail.example.org", "a@elsewhere.example", ""},
		{"no author", &all, "", "a@example.org", "example.org"},
		{"nobody", &all, "elsewhere.example", "a@elsewhere.example", ""},
		{"a literal", &all, "[192.0.2.1]", "a@[192.0.2.1]", ""},
		{"a key that is damaged", &all, "sub.example.com", "a@example.org", "451"},
		{"a key that waits", &all, "waiting.example", "a@waiting.example", ""},
		{"a key that waits, of a domain that must be signed for", &some, "waiting.example", "a@waiting.example", "451"},
		{"no key, of a domain that must be signed for", &some, "x.missing.example", "a@example.org", "451"},
		{"a key of a domain that is not to be signed for", &some, "host.example.net", "a@host.example.net", ""},
		{"one of some", &some, "x.example.org", "", "example.org"},
	} {
		var sender mail.Address
		if c.sender != "" {
			local, domain, _ := strings.Cut(c.sender, "@")
			sender = mail.Address{Local: local, Domain: domain}
		}
		got, err := c.of.Signer(c.author, sender)
		if refused, is := errors.AsType[*mail.Error](err); is && refused.Reply.Code == 451 && refused.Reply.Enhanced == "4.7.5" {
			got = "451"
		}
		if got != c.want {
			t.Errorf("%s: %q, %v, not %q", c.name, got, err, c.want)
		}
	}
}

// TestSigningOfContent: what is written is verified by another implementation, also what
// had to be made 7-bit.
func TestSigningOfContent(t *testing.T) {
	b := newBench(t)
	if _, err := b.Add("eve", KeyOrder{Domain: "example.org", Now: true}); err != nil {
		t.Fatal(err)
	}
	s := Signing{Store: b.Store, Clock: b.clock}
	keys, err := b.Store.active("example.org")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"plain":        "From: A <a@example.org>\r\nTo: b@example.net\r\n\r\nHello\r\n",
		"8-bit":        "From: a@example.org\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n",
		"several":      "From: =?utf-8?q?A?= <a@example.org>, b@example.com\r\n\r\nHello\r\n",
		"UTF-8 header": "From: \xc3\xbc <a@example.org>\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n",
	} {
		src, size := strings.NewReader(content), int64(len(content))
		if by, err := s.By(src, size, mail.Address{}); by != "example.org" || err != nil {
			t.Errorf("%s: signed by %q, %v", name, by, err)
		}
		signed, err := s.Sign(src, size, "example.org")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var out bytes.Buffer
		if _, err := signed.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		if results := verify(t, out.String(), keys...); len(results) != 2 || errors.Join(results...) != nil {
			t.Errorf("%s: %v", name, results)
		}
	}
	for name, content := range map[string]string{
		"two fields": "From: a@example.org\r\nFrom: b@example.net\r\n\r\nHello\r\n",
		"no From":    "To: a@example.org\r\n\r\nHello\r\n",
		"malformed":  "From: a@example.org <b@example.org\r\n\r\nHello\r\n",
		"a group":    "From: undisclosed:;\r\n\r\nHello\r\n",
	} {
		if by, err := s.By(strings.NewReader(content), int64(len(content)), mail.Address{}); by != "" || err != nil {
			t.Errorf("%s: %q, %v", name, by, err)
		}
	}
}

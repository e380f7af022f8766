package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"postern/internal/mail"
	"postern/internal/message"
)

// testKeys are an RSA and an Ed25519 key of example.org.
var testKeys = sync.OnceValue(func() []Key {
	list := []Key{{Domain: "example.org", Selector: "r"}, {Domain: "example.org", Selector: "e"}}
	for i, a := range Algorithms {
		private, err := NewKey(a, 0)
		if err != nil {
			panic(err)
		}
		list[i].Private = private
	}
	return list
})

// lines makes CRLF of the ends of lines.
func lines(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// verify returns what another implementation says of each signature of a message.
func verify(t *testing.T, content string, keys ...Key) []error {
	t.Helper()
	lookup := func(name string) ([]string, error) {
		for i := range keys {
			if keys[i].Name() == name {
				text, err := RecordText(&keys[i])
				return []string{text}, err
			}
		}
		return nil, fmt.Errorf("no record at %s", name)
	}
	list, err := msgauth.VerifyWithOptions(strings.NewReader(content), &msgauth.VerifyOptions{LookupTXT: lookup})
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, v := range list {
		errs = append(errs, v.Err)
	}
	return errs
}

var now = time.Unix(1_800_000_000, 0)

// TestSign: another implementation finds both signatures good.
func TestSign(t *testing.T) {
	long := strings.Repeat("x", 900)
	for name, content := range map[string]string{
		"plain":            "From: a@example.org\nTo: b@example.net\nSubject: x\n\nHello\n",
		"no body":          "From: a@example.org\n\n",
		"header alone":     "From: a@example.org\nTo: b@example.net\n",
		"empty lines":      "From: a@example.org\n\n\n\n\n",
		"blank lines":      "From: a@example.org\n\n  \n\t\n",
		"end":              "From: a@example.org\n\nHello  \n\n \n\n",
		"no last CRLF":     "From: a@example.org\n\nHello",
		"white space":      "From:   a@example.org\nSubject:  a \n\tb   c \n \nTO : b@example.net\n\n a  b\t\tc \nd\n",
		"duplicates":       "Received: 1\nTo: a@example.net\nFrom: a@example.org\nTo: b@example.net\nTo: c@example.net\nReceived: 2\n\nHello\n",
		"list":             "From: a@example.org\nList-Id: <x.example.org>\nList-Unsubscribe: <https://example.org/u>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\nSender: s@example.org\n\nx\n",
		"long lines":       "From: a@example.org\nSubject: " + long + "\n\n" + long + "\n",
		"large":            "From: a@example.org\n\n" + strings.Repeat(long+" \n\n", 1000) + "x\n\n\n",
		"empty value":      "From: a@example.org\nSubject:\nCc: \n\nx\n",
		"8-bit":            "From: a@example.org\nSubject: gr\xfc\xdfe\n\ngr\xc3\xbc\xc3\x9fe\n",
		"colon in a value": "From: a@example.org\nSubject: Re: a: b\n\nx\n",
	} {
		content = lines(content)
		fields, err := Options{Expiry: time.Hour * 1e6}.Sign(strings.NewReader(content), now, testKeys()...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for line := range strings.SplitSeq(fields, "\r\n") {
			if len(line) > lineLength+2 {
				t.Errorf("%s: a line has %d characters: %s", name, len(line), line)
			}
		}
		if name == "header alone" { // the other implementation wants the end of the header
			content += "\r\n"
		}
		results := verify(t, fields+content, testKeys()...)
		if len(results) != 2 || errors.Join(results...) != nil {
			t.Errorf("%s: %v\n%s", name, results, fields)
		}
	}
}

// TestBroken: of some changes of a signed message, which break the signatures.
func TestBroken(t *testing.T) {
	content := lines("Received: by x\nFrom: a@example.org\nTo: b@example.net\nCc: c@example.net\nSubject: One two\nDate: Fri, 1 Jan 2027 00:00:00 +0000\n" +
		"Message-ID: <1@example.org>\nX-Note: yes\nList-Id: <l.example.org>\nMIME-Version: 1.0\nContent-Type: text/plain\n\nPay 10 to Alice.\nThanks\n")
	fields, err := Options{Fields: []string{"X-Note"}}.Sign(strings.NewReader(content), now, testKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, old, new string
		good           bool
	}{
		{"nothing", "", "", true},
		{"body", "Alice", "Mallory", false},
		{"added to the body", "Thanks\r\n", "Thanks\r\nP.S.\r\n", false},
		{"cut from the body", "Thanks\r\n", "", false},
		{"a space in a word", "Thanks", "Than ks", false},
		{"From", "a@example.org", "ceo@example.org", false},
		{"a second From above", "From: a", "From: ceo@example.org\r\nFrom: a", false},
		{"a second From below", "To: b", "From: ceo@example.org\r\nTo: b", false},
		{"a second Subject", "Subject: One", "Subject: Urgent\r\nSubject: One", false},
		{"a Reply-To", "To: b", "Reply-To: evil@example.com\r\nTo: b", false},
		{"another field of the settings", "X-Note: yes", "X-Note: yes\r\nX-Note: no", false},
		{"a field of a list taken away", "List-Id: <l.example.org>\r\n", "", false},
		{"a field of a list added", "MIME-V", "List-Post: <mailto:l@example.org>\r\nMIME-V", true},
		{"Received", "Received: by x", "Received: by y\r\nReceived: by x", true},
		{"white space at an end", "Thanks\r\n", "Thanks \t\r\n\r\n", true},
		{"white space in a line", "Pay 10", "Pay \t 10", true},
		{"folding", "One two", "One\r\n\t two", true},
		{"case of a name", "Subject:", "SUBJECT:", true},
		{"case of a value", "One two", "one two", false},
		{"the domain of the signature", "d=example.org", "d=example.com", false},
		{"the time of the signature", "t=1800000000", "t=1800000001", false},
		{"l= added", "c=relaxed/relaxed;", "c=relaxed/relaxed; l=10;", false},
	} {
		changed := strings.ReplaceAll(fields, c.old, c.new) + strings.Replace(content, c.old, c.new, 1)
		if c.old == "" {
			changed = fields + content
		}
		if c.old != "" && changed == fields+content {
			t.Errorf("%s: nothing was changed", c.name)
		}
		for i, err := range verify(t, changed, testKeys()...) {
			if (err == nil) != c.good {
				t.Errorf("%s: signature %d: %v", c.name, i, err)
			}
		}
	}
}

// TestRFC8463 verifies the example of RFC 8463 A.3, and makes its Ed25519 signature again.
func TestRFC8463(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc8463.eml")
	if err != nil {
		t.Fatal(err)
	}
	header, body, _ := strings.Cut(lines(string(data)), "\r\n\r\n")
	fields := splitFields(header)
	seed, _ := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	private := ed25519.NewKeyFromSeed(seed)
	key := Key{Domain: "football.example.com", Selector: "brisbane", Private: private}
	if text, err := RecordText(&key); err != nil || text != "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Errorf("record: %s, %v", text, err)
	}
	hash := sha256.New()
	b := relaxedBody{dst: hash}
	if _, err := b.Write([]byte(body + "\r\n")); err != nil || b.end() != nil {
		t.Fatal(err)
	}
	bodyHash := base64.StdEncoding.EncodeToString(hash.Sum(nil))
	for i, field := range fields[:2] {
		list, err := ParseTags(field[strings.Index(field, ":")+1:])
		if err != nil {
			t.Fatal(err)
		}
		values := Values(list)
		if values["bh"] != bodyHash {
			t.Errorf("signature %d: bh is %s, not %s", i, bodyHash, values["bh"])
		}
		signature, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(values["b"]), ""))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(signedOctets(fields, field, values["h"]))
		if i == 0 {
			made, err := key.sign(sum)
			if err != nil || !bytes.Equal(made, signature) || !ed25519.Verify(private.Public().(ed25519.PublicKey), sum[:], signature) {
				t.Errorf("Ed25519: made %x, %v", made, err)
			}
			continue
		}
		if err := rsa.VerifyPKCS1v15(rfc8463RSA(t), crypto.SHA256, sum[:], signature); err != nil {
			t.Errorf("RSA: %v", err)
		}
	}
}

// rfc8463RSA is the public key of RFC 8463 A.2, by its record.
func rfc8463RSA(t *testing.T) *rsa.PublicKey {
	t.Helper()
	r, err := ParseRecord("v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB")
	if err != nil {
		t.Fatal(err)
	}
	return r.Public.(*rsa.PublicKey)
}

// splitFields splits a header into its fields.
func splitFields(header string) []string {
	var fields []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if line[0] == ' ' || line[0] == '\t' {
			fields[len(fields)-1] += "\r\n" + line
		} else {
			fields = append(fields, line)
		}
	}
	return fields
}

// signedOctets are what a signature is of (RFC 6376 3.7).
func signedOctets(fields []string, signature, names string) []byte {
	var octets []byte
	used := make(map[int]bool)
	for name := range strings.SplitSeq(names, ":") {
		for i := len(fields) - 1; i >= 0; i-- {
			if is, _, _ := strings.Cut(fields[i], ":"); strings.EqualFold(is, trim(name)) && !used[i] {
				used[i] = true
				octets = append(appendRelaxed(octets, []byte(fields[i])), "\r\n"...)
				break
			}
		}
	}
	return appendRelaxed(octets, []byte(signature[:strings.Index(signature, " b=")+3]))
}

// TestRFC6376: the example of RFC 6376 3.4.5.
func TestRFC6376(t *testing.T) {
	for field, want := range map[string]string{"A: X\r\n": "a:X", "B : Y\t\r\n\tZ  \r\n": "b:Y Z"} {
		if got := string(appendRelaxed(nil, []byte(field))); got != want {
			t.Errorf("%q: %q, not %q", field, got, want)
		}
	}
	if got := relaxed(t, " C \r\nD \t E\r\n\r\n\r\n", 1000); got != " C\r\nD E\r\n" {
		t.Errorf("body: %q", got)
	}
}

// relaxed is a body in its relaxed form, written in pieces.
func relaxed(t *testing.T, body string, piece int) string {
	var out bytes.Buffer
	b := relaxedBody{dst: &out}
	for len(body) > 0 {
		n := min(piece, len(body))
		if _, err := b.Write([]byte(body[:n])); err != nil {
			t.Fatal(err)
		}
		body = body[n:]
	}
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// FuzzRelaxed compares the relaxed form of a body, in pieces, with what RFC 6376 3.4.4 says
// of it as a whole.
func FuzzRelaxed(f *testing.F) {
	for _, s := range []string{"", "\r\n", " a \r\n\r\n", "a\rb\nc\r\r\n", "a \t b\r\n \r\nc", "\t"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, body string, piece int) {
		piece = max(1, min(piece, 100))
		whole := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body)
		var out []string
		for line := range strings.SplitSeq(whole, "\n") {
			line = strings.TrimRight(line, " \t")
			for _, gap := range []string{"\t", "  "} {
				for strings.Contains(line, gap) {
					line = strings.ReplaceAll(line, gap, " ")
				}
			}
			out = append(out, line)
		}
		want := strings.TrimRight(strings.Join(out, "\r\n"), "\r\n")
		if want != "" {
			want += "\r\n"
		}
		if got := relaxed(t, body, piece); got != want {
			t.Errorf("%q by %d: %q, not %q", body, piece, got, want)
		}
	})
}

// FuzzSign: whatever the message is, both implementations agree about its signature.
func FuzzSign(f *testing.F) {
	key := testKeys()[1]
	f.Add("From: a@example.org\r\n\r\nx\r\n")
	f.Add("From: a\r\nTo:\r\n b\r\nTO:c\r\n\r\n \r\n")
	f.Fuzz(func(t *testing.T, content string) {
		// What comes to be signed was read and written once, and obeys the law of CR and LF.
		content = lines(strings.ReplaceAll(content, "\r", ""))
		var stored bytes.Buffer
		if _, err := (message.Rewrite{MaxReceived: 1e6}).Copy(&stored, strings.NewReader("From: a@example.org\r\n"+content+"\r\n\r\n")); err != nil {
			return // it is not taken
		}
		fields, err := Options{}.Sign(bytes.NewReader(stored.Bytes()), now, key)
		if err != nil {
			t.Fatal(err)
		}
		results := verify(t, fields+stored.String(), key)
		if len(results) == 0 || results[0] != nil {
			t.Errorf("%q: %v", stored.String(), results)
		}
	})
}

// TestHeaderTooLarge: the limits of a header hold for what is signed.
func TestHeaderTooLarge(t *testing.T) {
	_, err := Options{}.Sign(strings.NewReader(strings.Repeat("To: a@example.net\r\n", message.DefaultHeaderFields+1)), now, testKeys()...)
	if refused, is := errors.AsType[*mail.Error](err); !is || !refused.Reply.Permanent() {
		t.Errorf("too many fields: %v", err)
	}
	if _, err := (Options{}).Sign(failing{}, now, testKeys()...); !errors.Is(err, errRead) {
		t.Errorf("a source that fails: %v", err)
	}
}

var errRead = errors.New("cannot be read")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errRead }

// TestMemory: empty lines at the end take no memory, however many they are.
func TestMemory(t *testing.T) {
	var out bytes.Buffer
	b := relaxedBody{dst: &out}
	p := bytes.Repeat([]byte("\r\n"), 1<<20)
	if n := testing.AllocsPerRun(10, func() { _, _ = b.Write(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := b.end(); err != nil || out.Len() != 0 {
		t.Errorf("%d octets, %v", out.Len(), err)
	}
}

// TestParseKey: what was written is read again; RSA keys of less than 1024 bits are not (RFC 8301
// 3.2).
func TestParseKey(t *testing.T) {
	for _, k := range testKeys() {
		text, err := encodeKey(k.Private)
		if err != nil {
			t.Fatal(err)
		}
		private, err := ParseKey(text)
		if err != nil || !private.(interface{ Equal(crypto.PrivateKey) bool }).Equal(k.Private) {
			t.Errorf("%s: %v", k.Algorithm(), err)
		}
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 512)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encodeKey(small)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(text); !errors.Is(err, ErrBits) {
		t.Errorf("512 bits: %v", err)
	}
	if _, err := ParseKey([]byte("nothing")); !errors.Is(err, ErrKey) {
		t.Errorf("no PEM: %v", err)
	}
}

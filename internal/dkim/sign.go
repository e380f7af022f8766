package dkim

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"postern/internal/message"
)

// Options say how messages are signed.
type Options struct {
	// Fields are signed beside the usual ones, each once more than it occurs. Those for
	// which CanSign is false are not.
	Fields []string
	// Expiry is for how long a signature is good (x=); 0: for ever.
	Expiry time.Duration
}

// fieldName is the name of the field that a signature is.
const fieldName = "DKIM-Signature"

// Sign reads a message, once, and returns its signatures by some keys: fields to be put on
// top of it, the last key's lowest. It holds the header and one buffer. It fails with the
// errors of src, with a *mail.Error when the header exceeds the usual limits, and when a key does not
// sign.
func (o Options) Sign(src io.Reader, now time.Time, keys ...Key) (string, error) {
	br := bufio.NewReaderSize(src, 32<<10)
	header, err := message.ReadHeader(br, message.Limits{})
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	body := relaxedBody{dst: hash}
	if _, err := br.WriteTo(&body); err != nil {
		return "", err
	}
	if err := body.end(); err != nil {
		return "", err
	}
	s := signing{now: now, bodyHash: base64.StdEncoding.EncodeToString(hash.Sum(nil))}
	if o.Expiry > 0 {
		s.expires = now.Add(o.Expiry)
	}
	s.choose(header, o.Fields)
	var fields strings.Builder
	for i := range keys {
		field, err := s.field(&keys[i])
		if err != nil {
			return "", fmt.Errorf("dkim: signing by %s: %w", keys[i].Name(), err)
		}
		fields.WriteString(field)
	}
	return fields.String(), nil
}

// signing is what the signatures of a message have in common.
type signing struct {
	now, expires time.Time // the zero time: it does not expire
	bodyHash     string
	names        []string // of the h= tag
	header       []byte   // the fields that are signed, in their relaxed form
}

// choose chooses the fields that are signed.
func (s *signing) choose(h *message.Header, more []string) {
	byName := make(map[string][]message.Field)
	counts := make(map[string]int)
	for f := range h.Fields() {
		name := strings.ToLower(f.Name())
		byName[name] = append(byName[name], f)
		counts[name]++
	}
	s.names = signedFields(counts, more)
	for _, name := range s.names {
		if left := byName[name]; len(left) > 0 {
			s.header = append(appendRelaxed(s.header, []byte(left[len(left)-1].String())), crlf...)
			byName[name] = left[:len(left)-1]
		}
	}
}

// field is the field of the signature by one key.
func (s *signing) field(k *Key) (string, error) {
	var f tags
	f.line = len(fieldName) + 1
	f.WriteString(fieldName + ":")
	f.tag("v=1")
	f.tag("a=" + string(k.Algorithm()) + "-sha256")
	f.tag("c=relaxed/relaxed")
	f.tag("d=" + k.Domain)
	f.tag("s=" + k.Selector)
	f.tag("t=" + strconv.FormatInt(s.now.Unix(), 10))
	if !s.expires.IsZero() {
		f.tag("x=" + strconv.FormatInt(s.expires.Unix(), 10))
	}
	f.list("h=", s.names)
	f.tag("bh=" + s.bodyHash)
	f.word(" b=")
	signature, err := k.sign(sha256.Sum256(appendRelaxed(s.header[:len(s.header):len(s.header)], []byte(f.String()))))
	if err != nil {
		return "", err
	}
	f.octets(base64.StdEncoding.EncodeToString(signature))
	return f.String() + "\r\n", nil
}

// tags writes the tags of a signature (RFC 6376 3.2) into lines of at most lineLength
// characters, unless one tag has more.
type tags struct {
	strings.Builder
	line int // length of the last line
}

const lineLength = 76

// word writes what is not broken, on a line of its own where it does not fit; it begins
// with a space.
func (t *tags) word(s string) {
	if t.line+len(s) > lineLength {
		t.WriteString("\r\n")
		t.line = 0
	}
	t.WriteString(s)
	t.line += len(s)
}

func (t *tags) tag(s string) { t.word(" " + s + ";") }

// list writes a tag whose value is a list, which may be broken behind each colon.
func (t *tags) list(tag string, names []string) {
	for i, name := range names {
		last := ":"
		if i == len(names)-1 {
			last = ";"
		}
		switch {
		case i == 0:
			t.word(" " + tag + name + last)
		case t.line+len(name)+1 > lineLength:
			t.WriteString("\r\n " + name + last)
			t.line = len(name) + 2
		default:
			t.WriteString(name + last)
			t.line += len(name) + 1
		}
	}
}

// octets writes base64, which may be broken anywhere.
func (t *tags) octets(s string) {
	for len(s) > 0 {
		n := min(len(s), max(lineLength-t.line, 0))
		t.WriteString(s[:n])
		t.line += n
		if s = s[n:]; len(s) > 0 {
			t.WriteString("\r\n ")
			t.line = 1
		}
	}
}

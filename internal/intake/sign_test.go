package intake

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
)

// stamper signs by a field that says for whom: for the sender's domain, unless the header
// has a field X-By that names another.
type stamper struct{ fail, not error }

func (s stamper) By(content io.ReaderAt, size int64, sender mail.Address) (string, error) {
	text, err := io.ReadAll(io.NewSectionReader(content, 0, size))
	if _, by, is := strings.Cut(string(text), "X-By: "); is {
		by, _, _ = strings.Cut(by, "\r\n")
		return by, errors.Join(err, s.fail)
	}
	return sender.Domain, errors.Join(err, s.fail)
}

func (s stamper) Sign(content io.ReaderAt, size int64, by string) (*message.Signed, error) {
	return message.Sign(content, size, func(src io.Reader) (string, error) {
		n, err := io.Copy(io.Discard, src)
		return fmt.Sprintf("Signed: %s, %d octets\r\n", by, n), errors.Join(err, s.not)
	})
}

// signedBy returns who has signed the content of each entry, and fails unless the signature is on
// top of what was signed.
func (d *door) signedBy() string {
	d.t.Helper()
	var list []string
	for _, e := range d.entries() {
		b, err := d.store.Body(d.t.Context(), e.Body)
		if err != nil {
			d.t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err = errors.Join(err, b.Close()); err != nil {
			d.t.Fatal(err)
		}
		field, rest, _ := strings.Cut(string(text), "\r\n")
		by, signed := strings.CutPrefix(field, "Signed: ")
		by, size, _ := strings.Cut(by, ", ")
		switch {
		case !signed:
			by = "-"
		case size != fmt.Sprintf("%d octets", len(rest)):
			d.t.Errorf("%s was signed, and %d octets are stored", size, len(rest))
		}
		if e.Size != int64(len(text)) || message.HasEightBit(text) != (e.Envelope.Body == mail.Body8BitMIME) {
			d.t.Errorf("of %d octets, %s: %q", e.Size, e.Envelope.Body, text)
		}
		list = append(list, by)
	}
	return strings.Join(list, " ")
}

// TestSigned: what is stored is signed, as it is at last, once for all that get the same;
// and 7-bit.
func TestSigned(t *testing.T) {
	edit := policy.Treatment{Edits: []message.Edit{{Op: message.AddField, Name: "X-By", Value: "author.example"}}}
	owner, ann := address(t, "owner@lists.example"), address(t, "ann@new.example")
	for _, c := range []struct {
		name   string
		treat  map[string]policy.Treatment
		to     string
		want   string
		drafts int // that are left
	}{
		{"as it comes", nil, "a@x.example b@y.example", "sender.example", 1},
		{"by its edited header", map[string]policy.Treatment{"a@x.example": edit}, "a@x.example", "author.example", 1},
		{"two contents", map[string]policy.Treatment{"a@x.example": edit}, "a@x.example b@y.example", "author.example sender.example", 2},
		{"two senders", map[string]policy.Treatment{"a@x.example": {Sender: &owner}}, "a@x.example b@y.example", "lists.example sender.example", 2},
		{"one content for two entries", map[string]policy.Treatment{"a@x.example": {TLS: mail.TLSRequired}}, "a@x.example b@y.example", "sender.example sender.example", 1},
		{"a copy that nobody signs", map[string]policy.Treatment{"a@x.example": {Copies: []mail.Address{ann}}}, "a@x.example", "sender.example -", 2},
		{"held", map[string]policy.Treatment{"a@x.example": {Hold: mail.HoldPolicy}}, "a@x.example", "sender.example", 1},
	} {
		d := newDoor(t, Options{Signer: stamper{}})
		if reply := d.sendUnder(&ruling{treat: c.treat}, "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n", strings.Fields(c.to)...); reply.Code != 250 {
			t.Fatal(reply)
		}
		if got := d.signedBy(); got != c.want {
			t.Errorf("%s: signed by %s, not %s", c.name, got, c.want)
		}
		left := 0
		for _, draft := range d.store.drafts {
			if !draft.discarded {
				left++
			}
		}
		if left != c.drafts {
			t.Errorf("%s: %d drafts are left, not %d", c.name, left, c.drafts)
		}
	}
}

// TestNotSigned: what must be signed and cannot be is not taken, and nothing is left of it;
// mail of strangers is not signed.
func TestNotSigned(t *testing.T) {
	noKey := mail.Refuse(451, "4.7.5", "no key")
	edit := map[string]policy.Treatment{"ann@x.example": {Edits: []message.Edit{{Op: message.AddField, Name: "X", Value: "1"}}}}
	for name, s := range map[string]stamper{"no key": {fail: noKey}, "not signed": {not: noKey}} {
		for _, treat := range []map[string]policy.Treatment{nil, edit} {
			d := newDoor(t, Options{Signer: s})
			if reply := d.sendUnder(&ruling{treat: treat}, plainText, "ann@x.example"); reply != noKey.Reply {
				t.Errorf("%s: %s", name, reply)
			}
			d.wantNothing()
		}
	}
	d := newDoor(t, Options{Signer: stamper{}, Room: func(size int64) error {
		if size > 0 {
			return queue.ErrFull
		}
		return nil
	}})
	if reply := d.sendUnder(&ruling{}, plainText, "ann@x.example"); reply.Code != 452 {
		t.Errorf("no room: %s", reply)
	}
	d.wantNothing()
	d = newDoor(t, Options{Signer: stamper{fail: noKey}, Ours: func(o *mail.Origin) bool { return o.Client.Addr() != inside.Addr() }})
	if reply := d.sendUnder(&ruling{}, plainText, "ann@x.example"); reply.Code != 250 || d.signedBy() != "-" {
		t.Errorf("a stranger's: %s, %s", reply, d.signedBy())
	}
}

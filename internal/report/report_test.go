package report

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// store counts the drafts that are left.
type store struct {
	*queue.Memory
	fail error
	left int
}

type draft struct {
	queue.Draft
	of *store
}

func (d *draft) Discard() { d.of.left--; d.Draft.Discard() }

func (s *store) Create(ctx context.Context) (queue.Draft, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	inner, err := s.Memory.Create(ctx)
	s.left++
	return &draft{inner, s}, err
}

// TestWrite: a report is an entry from the null sender, to all who are told, of which
// nobody hears (RFC 3461 6.1); of one that cannot be written nothing is left.
func TestWrite(t *testing.T) {
	ids, now := new(mail.IDs), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	s := &store{Memory: queue.NewMemory(queue.Options{Clock: mail.NewManualClock(now)})}
	joe, ann := mail.Address{Local: "joe", Domain: "a.example"}, mail.Address{Local: "ann", Domain: "b.example"}
	const content = "Subject: x\r\n\r\n"
	r := &dsn.Report{ID: ids.New(now), Host: "gate.example", Now: now, About: "m1", Envelope: mail.Envelope{From: joe},
		Recipients: []dsn.Recipient{{Recipient: mail.Recipient{Address: ann}, Outcome: mail.Outcome{State: mail.Expanded}}},
		Content:    strings.NewReader(content), Size: int64(len(content))}
	written, err := (Writer{Store: s}).Write(t.Context(), r, []mail.Address{joe, ann})
	if err != nil {
		t.Fatal(err)
	}
	e := &written.Entry
	if e.ID != r.ID || !e.Envelope.From.IsNull() || e.Origin.Listener != Listener || len(e.Deliveries) != 2 || e.Deliveries[1].Recipients[0].Notify != mail.NotifyNever {
		t.Errorf("%+v", e)
	}
	f := Fact(&written, "m1", dsn.Expanded)
	if f.Reason != mail.ReasonAccepted || f.Message != r.ID || f.About != "m1" || f.Text != "report: expanded" || strings.Join(f.To, " ") != "joe@a.example ann@b.example" || f.Size != written.Draft.Size() || f.Size == 0 {
		t.Errorf("%+v", f)
	}
	r.Envelope.From = mail.Address{} // there is never a report to the null sender
	if _, err := (Writer{Store: s}).Write(t.Context(), r, []mail.Address{joe}); !errors.Is(err, dsn.ErrNullSender) || s.left != 1 {
		t.Errorf("%v, %d drafts are left", err, s.left)
	}
	s.fail = errors.New("no room")
	if _, err := (Writer{Store: s}).Write(t.Context(), r, []mail.Address{joe}); !errors.Is(err, s.fail) {
		t.Error(err)
	}
}

// signer signs as a domain, by a field that says so.
type signer struct {
	by        string
	fail, not error
}

func (s signer) By(io.ReaderAt, int64, mail.Address) (string, error) { return s.by, s.fail }

func (s signer) Sign(content io.ReaderAt, size int64, by string) (*message.Signed, error) {
	return message.Sign(content, size, func(io.Reader) (string, error) { return "Signed-By: " + by + "\r\n", s.not })
}

// TestSigned: a report is stored signed, and 7-bit; one that cannot be signed is not
// written.
func TestSigned(t *testing.T) {
	ids, now := new(mail.IDs), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	joe, ann := mail.Address{Local: "joe", Domain: "a.example"}, mail.Address{Local: "ann", Domain: "b.example"}
	const content = "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n"
	failure := errors.New("no key")
	for name, c := range map[string]struct {
		signer Signer
		begins string
		want   error
	}{
		"nobody":              {nil, "From:", nil},
		"nobody for the host": {signer{}, "From:", nil},
		"signed":              {signer{by: "a.example"}, "Signed-By: a.example\r\nFrom:", nil},
		"no key":              {signer{fail: failure}, "", failure},
		"not signed":          {signer{by: "a.example", not: failure}, "", failure},
	} {
		s := &store{Memory: queue.NewMemory(queue.Options{Clock: mail.NewManualClock(now)})}
		r := &dsn.Report{ID: ids.New(now), Host: "gate.example", Now: now, About: "m1", Envelope: mail.Envelope{From: joe, Body: mail.Body8BitMIME},
			Recipients: []dsn.Recipient{{Recipient: mail.Recipient{Address: ann}, Outcome: mail.Outcome{State: mail.Bounced}}},
			Content:    strings.NewReader(content), Size: int64(len(content))}
		written, err := Writer{s, c.signer}.Write(t.Context(), r, []mail.Address{joe})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != nil {
			if s.left != 0 {
				t.Errorf("%s: %d drafts are left", name, s.left)
			}
			continue
		}
		text := make([]byte, written.Draft.Size())
		if _, err := written.Draft.ReadAt(text, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		signed := strings.HasPrefix(c.begins, "Signed")
		if !strings.HasPrefix(string(text), c.begins) || s.left != 1 || signed && (written.Entry.Envelope.Body != mail.Body7Bit || message.HasEightBit(text)) {
			t.Errorf("%s: %d drafts, %s:\n%.200s", name, s.left, written.Entry.Envelope.Body, text)
		}
	}
}

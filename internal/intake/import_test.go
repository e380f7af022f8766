package intake

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/queue"
)

const (
	exportID = mail.ID("0000000000000100")
	oldID    = mail.ID("0000000000000001")
)

const imported = "Message-ID: <1@old.example>\r\n\r\ntext\r\n"

// foreign is an entry of another queue, with a recipient in each state.
func foreign(t *testing.T, id mail.ID) queue.Entry {
	recipient := func(to string, state mail.State, hold mail.Hold) queue.Recipient {
		r := queue.Recipient{Recipient: mail.Recipient{Address: address(t, to)}, State: state, Hold: hold}
		if hold == mail.HoldOperator {
			r.Why = "wait"
		}
		return r
	}
	return queue.Entry{
		Tags: []string{"payroll"}, TLS: mail.TLSRequired,
		ID: id, Message: id, Body: id, Size: int64(len(imported)), Accepted: now.AddDate(0, 0, -1),
		Envelope: mail.Envelope{From: address(t, "joe@old.example")}, Origin: mail.Origin{Listener: "there"},
		Deliveries: queue.Deliveries([]queue.Recipient{
			recipient("a@one.example", mail.Queued, ""), recipient("b@two.example", mail.Deferred, ""),
			recipient("c@zoo.example", mail.Held, mail.HoldDeadLetter), recipient("d@zoo.example", mail.Held, mail.HoldOperator),
		}, now),
	}
}

// importOne imports a batch of one message.
func (d *door) importOne(b Batch, e queue.Entry, content io.Reader) (Extent, error) {
	d.t.Helper()
	im, err := d.Import(d.t.Context(), b)
	if err != nil {
		return Extent{}, err
	}
	defer im.Discard()
	if err := im.Add(d.t.Context(), e, content); err != nil {
		return Extent{}, err
	}
	return im.Commit(d.t.Context(), nil)
}

// TestImport: a message of another queue is taken as it was, under a new id;
// the journal has both, and who brought it; and how far the export was
// imported is in the same commit.
func TestImport(t *testing.T) {
	d := newDoor(t, Options{AddDate: true, AddMessageID: true})
	batch := Batch{Export: exportID, After: Extent{Done: 1, Failed: []mail.ID{"0000000000000002"}}, Actor: "root"}
	want := foreign(t, oldID)
	after, err := d.importOne(batch, want, strings.NewReader(imported))
	if err != nil || after.Done != 1 {
		t.Fatalf("%+v, %v", after, err)
	}
	got := d.entries()[0]
	if got.ID == oldID || got.Message != got.ID || got.Body != got.ID {
		t.Errorf("its ids are %s, %s and %s", got.ID, got.Message, got.Body)
	}
	body, err := d.store.Body(t.Context(), got.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size())); err != nil || string(text) != imported {
		t.Errorf("its content is %q, %v", text, err)
	}
	got.ID, got.Message, got.Body = oldID, oldID, oldID
	if cmp.Diff(want.Tags, got.Tags) != "" || got.TLS != want.TLS || got.Accepted != want.Accepted || got.Origin != want.Origin || cmp.Diff(want.Deliveries, got.Deliveries) != "" {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var facts []string
	for _, f := range d.facts() {
		text := "imported"
		if f.Hold == mail.HoldOperator {
			text += ": wait"
		}
		if f.Actor != "root" || f.Text != text || !f.Time.Equal(now) {
			t.Errorf("fact %+v", f)
		}
		facts = append(facts, string(f.Reason)+" "+string(f.About)+" "+f.MessageID+" "+string(f.Hold)+" "+strings.Join(f.To, ","))
	}
	if diff := cmp.Diff([]string{
		"accepted " + string(oldID) + " <1@old.example>  a@one.example,b@two.example,c@zoo.example,d@zoo.example",
		"held   dead letter c@zoo.example", "held   operator d@zoo.example",
	}, facts); diff != "" {
		t.Errorf("facts: -want +got\n%s", diff)
	}
	if far, err := d.Imported(t.Context(), exportID); err != nil || far.Done != 1 || !slices.Equal(far.Failed, batch.After.Failed) {
		t.Errorf("imported as far as %+v, %v", far, err)
	}
	if _, err := d.importOne(batch, want, strings.NewReader(imported)); !errors.Is(err, ErrMovedOn) || len(d.entries()) != 1 {
		t.Errorf("the batch again: %v", err)
	}
}

// TestImportIsNotSigned: a message of another queue keeps its content, also where there is a key for
// it; that it leaves without a signature is told, unless it has one, or nobody signs for it.
func TestImportIsNotSigned(t *testing.T) {
	ours := func(*mail.Origin) bool { return true }
	for _, c := range []struct {
		name, content, want string
		options             Options
	}{
		{"no signature", imported, "imported; it has no signature, and none is made for old.example", Options{Signer: stamper{}, Ours: ours}},
		{"signed there", "DKIM-Signature: v=1; d=old.example\r\n" + imported, "imported", Options{Signer: stamper{}, Ours: ours}},
		{"not ours", imported, "imported", Options{Signer: stamper{}, Ours: func(*mail.Origin) bool { return false }}},
		{"no keys", imported, "imported", Options{}},
		{"a key that cannot be read", imported, "imported", Options{Signer: stamper{fail: errors.New("no key")}, Ours: ours}},
	} {
		d := newDoor(t, c.options)
		e := foreign(t, oldID)
		e.Size = int64(len(c.content))
		if _, err := d.importOne(Batch{Export: exportID}, e, strings.NewReader(c.content)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := d.facts()[0].Text; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if by := d.signedBy(); by != "-" {
			t.Errorf("%s: it was signed by %s", c.name, by)
		}
	}
}

// TestImportVariant: a message that is a variant of another stays one.
func TestImportVariant(t *testing.T) {
	d := newDoor(t, Options{})
	e := foreign(t, oldID)
	e.Message = "0000000000000009"
	if _, err := d.importOne(Batch{Export: exportID}, e, strings.NewReader(imported)); err != nil || d.entries()[0].Message != e.Message {
		t.Errorf("%+v, %v", d.entries(), err)
	}
}

// TestImportRefused: what is wrong with a message is its own affair, what is
// wrong with the store or the server everybody's; nothing is stored then, no
// draft is left, and the next import can begin.
func TestImportRefused(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		options Options
		fail    string
		change  func(*queue.Entry)
		content string
		want    error
	}{
		{name: "size", change: func(e *queue.Entry) { e.Size++ }, want: ErrUnfit},
		{name: "newline", content: strings.Replace(imported, "\r\ntext", "\ntext\r", 1), want: ErrUnfit},
		{name: "state", change: func(e *queue.Entry) { e.Deliveries[0].Recipients[0].State = mail.Delivered }, want: ErrUnfit},
		{name: "recipients", change: func(e *queue.Entry) { e.Deliveries = nil }, want: ErrUnfit},
		{name: "create", fail: "create", want: broken},
		{name: "write", fail: "write", want: broken},
		{name: "accept", fail: "accept", want: broken},
		{name: "suspended", options: Options{Suspended: func() bool { return true }}, want: errSuspended},
		{name: "room", options: Options{Room: func(int64) error { return errNoRoom }}, want: errNoRoom},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, c.options)
			d.store.fail[c.fail] = broken
			e := foreign(t, oldID)
			if c.change != nil {
				c.change(&e)
			}
			text := imported
			if c.content != "" {
				text = c.content
			}
			if _, err := d.importOne(Batch{Export: exportID, After: Extent{Done: 1}}, e, strings.NewReader(text)); !errors.Is(err, c.want) {
				t.Errorf("it says %v", err)
			}
			for _, draft := range d.store.drafts {
				if !draft.discarded {
					t.Error("a draft is left")
				}
			}
			if len(d.entries())+len(d.facts()) > 0 {
				t.Errorf("stored: %+v, %+v", d.entries(), d.facts())
			}
			d.store.fail = map[string]error{}
			if c.options.Suspended != nil || c.options.Room != nil {
				return
			}
			if _, err := d.importOne(Batch{Export: exportID}, foreign(t, oldID), strings.NewReader(imported)); err != nil {
				t.Errorf("the next: %v", err)
			}
		})
	}
}

// TestOneImport: an import waits for the end of another.
func TestOneImport(t *testing.T) {
	d := newDoor(t, Options{})
	first, err := d.Import(t.Context(), Batch{Export: exportID})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Import(ctx, Batch{Export: exportID}); !errors.Is(err, context.Canceled) {
		t.Errorf("a second at the same time: %v", err)
	}
	first.Discard()
	first.Discard() // does nothing
	second, err := d.Import(t.Context(), Batch{Export: exportID})
	if err != nil {
		t.Fatal(err)
	}
	second.Discard()
}

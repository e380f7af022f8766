package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/admin"
	"postern/internal/deliver"
	"postern/internal/intake"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// rig is a server with a queue.
type rig struct {
	*admin.Client
	t     *testing.T
	queue *embedded.Store
	ids   mail.IDs
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "transfer") // a short name: it is that of a socket
	mailtest.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{Logger: slog.New(slog.DiscardHandler)})
	mailtest.Must(t, err)
	store, err := embedded.Open("queue", embedded.Options{FS: vfs.NewMem(), Reserve: -1})
	mailtest.Must(t, err)
	r := &rig{t: t, queue: store}
	socket := filepath.Join(dir, "s")
	l, err := admin.Listen(socket)
	mailtest.Must(t, err)
	server := admin.NewServer(admin.Options{
		Queue: r.queue, Sites: deliver.New(deliver.Options{Store: r.queue}), Store: r.queue, Journal: j, Status: func() admin.Status { return admin.Status{Hostname: "old.example"} },
		Importer: intake.New(intake.Options{Store: r.queue, IDs: &r.ids}),
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-served, j.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	r.Client = admin.NewClient(socket)
	return r
}

// contentOf is the content of the nth message.
func contentOf(n int) []byte {
	return append(fmt.Appendf(nil, "Message-ID: <%d@x.example>\r\n\r\n", n), bytes.Repeat([]byte("0123456789\r\n"), n*50)...)
}

// fill stores n messages, of all states and with all that an entry can have.
func (r *rig) fill(n int) []queue.Entry {
	r.t.Helper()
	var all []queue.Entry
	for i := range n {
		last := mail.Outcome{State: mail.Deferred, Attempt: 2, At: noon, Reply: mail.NewReply(451, "4.4.1", "no answer"), Cause: "dial"}
		queued := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "joe", Domain: "a.example"}, Notify: mail.NotifySuccess, Original: "rfc822;j@a.example"}, State: mail.Queued}
		deferred := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "ann", Domain: "b.example"}}, State: mail.Deferred, Last: &last, Warned: noon}
		held := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "bob", Domain: "b.example"}}, State: mail.Held, Hold: mail.HoldOperator}
		dead := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "eve", Domain: "c.example"}}, State: mail.Held, Hold: mail.HoldDeadLetter, Why: "nobody"}
		id := r.ids.New(noon)
		e := queue.Entry{
			ID: id, Message: id, Accepted: noon, Class: mail.Class(i % 3),
			Envelope:   mail.Envelope{From: mail.Address{Local: "me", Domain: "x.example"}, EnvelopeID: "q", Return: mail.ReturnHeaders},
			Origin:     mail.Origin{Listener: "smtp", Hello: "client", TLS: &mail.TLS{Version: "TLS 1.3"}},
			Deliveries: queue.Deliveries([]queue.Recipient{queued, deferred, held, dead}, noon.Add(time.Duration(i)*time.Minute)),
		}
		e.Deliveries[1].Attempts = 2
		e.Deliveries[2].Destination = e.Deliveries[2].Destination.Via("relay.example:587")
		e.Tags, e.TLS = []string{"payroll"}, mail.TLSVerified
		if i%2 == 0 {
			e.Envelope.From = mail.Address{} // a report
		}
		draft, err := r.queue.Create(r.t.Context())
		mailtest.Must(r.t, err)
		_, err = draft.Write(contentOf(i))
		mailtest.Must(r.t, err)
		mailtest.Must(r.t, r.queue.Accept(r.t.Context(), queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: draft}}}))
		e, err = r.queue.Get(r.t.Context(), id)
		mailtest.Must(r.t, err)
		all = append(all, e)
	}
	return all
}

// all are the entries in the queue.
func (r *rig) all() []queue.Entry {
	r.t.Helper()
	list, err := r.queue.List(r.t.Context(), queue.Filter{}, queue.Page{})
	mailtest.Must(r.t, err)
	return list
}

// withoutIDs compares entries of two queues.
var withoutIDs = cmp.Options{cmpopts.IgnoreFields(queue.Entry{}, "ID", "Message", "Body"), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()}

// wantSame compares the queue with what was in another, and the contents.
func (r *rig) wantSame(want []queue.Entry) {
	r.t.Helper()
	got := r.all()
	if diff := cmp.Diff(want, got, withoutIDs); diff != "" {
		r.t.Errorf("the queue differs (-want +got):\n%s", diff)
	}
	for i := range got {
		body, err := r.queue.Body(r.t.Context(), got[i].Body)
		mailtest.Must(r.t, err)
		content, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		if mailtest.Must(r.t, errors.Join(err, body.Close())); !bytes.Equal(content, contentOf(i)) {
			r.t.Errorf("message %d has another content", i)
		}
	}
}

func (r *rig) options(dir string, source Source) Options {
	return Options{Dir: dir, Source: source, Progress: func(queue.Progress) {}, Waiting: func(int) {},
		Failed: func(id mail.ID, err error) { r.t.Errorf("message %s: %v", id, err) }}
}

func (r *rig) importOptions(dir string) ImportOptions {
	return ImportOptions{Dir: dir, Progress: func(queue.Progress) {}, Imported: func(was, now mail.ID) {},
		Failed: func(id mail.ID, err error) { r.t.Errorf("message %s: %v", id, err) }}
}

// TestStates: whatever becomes of the messages in the old queue, the new one
// has them with all that they had.
func TestStates(t *testing.T) {
	for _, source := range []Source{Kept, Held, Removed} {
		t.Run(string(source), func(t *testing.T) {
			old, dir := newRig(t), filepath.Join(t.TempDir(), "box")
			want := old.fill(5)
			m, err := Export(t.Context(), old, &old.ids, old.options(dir, source))
			if err != nil || m.Messages != 5 || m.Recipients != 20 {
				t.Fatalf("%+v, %v", m, err)
			}
			left := old.all()
			switch source {
			case Kept:
				old.wantSame(want)
			case Removed:
				if len(left) > 0 {
					t.Errorf("left in the old queue: %d", len(left))
				}
			case Held:
				for _, e := range left {
					for _, d := range e.Deliveries {
						for _, one := range d.Recipients {
							if one.State != mail.Held {
								t.Errorf("%s to %s is %s in the old queue", e.ID, one.Address, one.State)
							}
						}
					}
				}
			}
			now := newRig(t)
			_, err = Import(t.Context(), now, now.importOptions(dir))
			if source == Kept {
				if err == nil || !strings.Contains(err.Error(), "the queue of old.example still has these messages") || len(now.all()) > 0 {
					t.Errorf("the import of a copy: %v", err)
				}
				o := now.importOptions(dir)
				o.Twice = true
				_, err = Import(t.Context(), now, o)
			}
			mailtest.Must(t, err)
			now.wantSame(want)
			r, err := Import(t.Context(), now, ImportOptions{Dir: dir, Twice: true, Progress: func(queue.Progress) {}})
			if err != nil || r.Imported != 0 || r.Before != 5 {
				t.Errorf("imported again: %+v, %v", r, err)
			}
			now.wantSame(want)
		})
	}
}

// errCut is why a run was cut short.
var errCut = errors.New("cut short")

// cutting is a server whose nth call does not come back: it is not made, or
// made and its answer lost.
type cutting struct {
	Server
	left int
	done bool // the call is made
}

func (c *cutting) cut(call func() error) error {
	if c.left--; c.left != 0 {
		return call()
	}
	if c.done {
		_ = call() // nobody hears of it
	}
	return errCut
}

func (c *cutting) Message(ctx context.Context, id mail.ID) (m admin.Message, err error) {
	return m, c.cut(func() error { m, err = c.Server.Message(ctx, id); return err })
}

func (c *cutting) Content(ctx context.Context, id mail.ID) (io.ReadCloser, error) {
	if c.left--; c.left == 0 {
		return nil, errCut
	}
	return c.Server.Content(ctx, id)
}

func (c *cutting) Edit(ctx context.Context, e admin.Edit, progress func(queue.Edited)) (done queue.Edited, err error) {
	return done, c.cut(func() error { done, err = c.Server.Edit(ctx, e, progress); return err })
}

func (c *cutting) Import(ctx context.Context, b intake.Batch, messages []admin.Importing) (done admin.Imported, err error) {
	return done, c.cut(func() error { done, err = c.Server.Import(ctx, b, messages); return err })
}

// TestCutShort: a move that is cut short anywhere, and repeated, moves each
// message once and with the state that it had; so does its import.
func TestCutShort(t *testing.T) {
	const messages = exportPage + 5 // two pages
	cuts := 0
	for n := 1; ; n += 1 + n%50/2 { // more of them about the ends of pages
		old, dir := newRig(t), filepath.Join(t.TempDir(), "box")
		want := old.fill(messages)
		_, err := Export(t.Context(), &cutting{Server: old, left: n, done: n%2 == 0}, &old.ids, old.options(dir, Removed))
		over := err == nil
		if !over && !errors.Is(err, errCut) {
			t.Fatalf("cut at call %d: %v", n, err)
		}
		if !over {
			if cuts++; len(old.all()) < messages-exportPage {
				t.Fatalf("cut at call %d: %d messages are left in the old queue", n, len(old.all()))
			}
			m, err := Export(t.Context(), old, &old.ids, old.options(dir, Removed))
			if err != nil || m.Messages != messages || m.Recipients != 4*messages {
				t.Fatalf("repeated after a cut at call %d: %+v, %v", n, m, err)
			}
		}
		if left := old.all(); len(left) > 0 {
			t.Fatalf("cut at call %d: left in the old queue: %d", n, len(left))
		}
		importCutShort(t, dir, want)
		if t.Failed() || over {
			break
		}
	}
	if cuts < 10 {
		t.Errorf("cut short %d times only", cuts)
	}
}

// importCutShort imports, cut short at every batch before and after it is
// durable.
func importCutShort(t *testing.T, dir string, want []queue.Entry) {
	t.Helper()
	now := newRig(t)
	for n := 1; n <= 2; n++ {
		for _, done := range []bool{false, true} {
			_, err := Import(t.Context(), &cutting{Server: now, left: n, done: done}, now.importOptions(dir))
			if err != nil && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
		}
	}
	_, err := Import(t.Context(), now, now.importOptions(dir))
	mailtest.Must(t, err)
	got := now.all()
	if diff := cmp.Diff(want, sortedLike(got, want), withoutIDs); diff != "" {
		t.Errorf("the queue differs (-want +got):\n%s", diff)
	}
}

// sortedLike puts entries in the order of others, by their times.
func sortedLike(got, want []queue.Entry) []queue.Entry {
	byTime := map[time.Time]queue.Entry{}
	for _, e := range got {
		byTime[e.Deliveries[0].Next.UTC()] = e
	}
	var sorted []queue.Entry
	for _, e := range want {
		sorted = append(sorted, byTime[e.Deliveries[0].Next.UTC()])
	}
	if len(got) != len(want) {
		sorted = append(sorted, got...)
	}
	return sorted
}

// TestUnderWay: an export waits for the attempts that are under way. What they
// deliver is not in it, and what they defer is.
func TestUnderWay(t *testing.T) {
	old, dir := newRig(t), filepath.Join(t.TempDir(), "box")
	old.fill(3)
	now := noon.Add(time.Hour)
	leases, err := old.queue.Claim(t.Context(), "a.example", 2, now, now.Add(10*24*365*time.Hour))
	mailtest.Must(t, err)
	waited := 0
	o := old.options(dir, Removed)
	o.Waiting = func(n int) {
		if waited++; waited > 1 {
			return
		}
		if n != 2 {
			t.Errorf("waits for %d messages, want 2", n)
		}
		var settlements []queue.Settlement
		for i, l := range leases {
			s := queue.Settlement{Lease: l, Next: now.Add(time.Hour)}
			for range l.Delivery().Recipients {
				state := mail.Deferred
				if i == 0 {
					state = mail.Delivered
				}
				s.Outcomes = append(s.Outcomes, mail.Outcome{State: state, Attempt: l.Attempt(), At: now, Reply: mail.NewReply(451, "4.0.0", "wait %d", i)})
			}
			settlements = append(settlements, s)
		}
		mailtest.Must(t, old.queue.Settle(t.Context(), settlements))
	}
	m, err := Export(t.Context(), old, &old.ids, o)
	if err != nil || waited == 0 || m.Messages != 3 || len(old.all()) > 0 {
		t.Fatalf("%+v, %v; waited %d times, %d left", m, err, waited, len(old.all()))
	}
	first, err := readMessage(filepath.Join(dir, string(leases[0].Entry.ID)+entrySuffix), leases[0].Entry.ID)
	mailtest.Must(t, err)
	for _, d := range first.Entry.Deliveries {
		if d.Destination == "a.example" {
			t.Errorf("what was delivered is in the export: %+v", d)
		}
	}
	other := leases[len(leases)-1].Entry.ID
	second, err := readMessage(filepath.Join(dir, string(other)+entrySuffix), other)
	mailtest.Must(t, err)
	if d := second.Entry.Deliveries[0]; d.Attempts != 1 || d.Recipients[0].State != mail.Deferred || !d.Next.Equal(now.Add(time.Hour)) {
		t.Errorf("what was deferred is exported as %+v", d)
	}
}

// TestDamagedFiles: nothing of a message with a damaged file is imported, the
// file and what is wrong in it are named, and the others go on. Once mended it
// is imported, and only it.
func TestDamagedFiles(t *testing.T) {
	old, whole := newRig(t), filepath.Join(t.TempDir(), "box")
	want := old.fill(3)
	_, err := Export(t.Context(), old, &old.ids, old.options(whole, Removed))
	mailtest.Must(t, err)
	id := want[1].ID
	for _, c := range []struct{ name, suffix, from, to, cause string }{
		{"cut", entrySuffix, `"entry": {`, "", `ID.json:4:11: not JSON: it ends too early`},
		{"type", entrySuffix, `"accepted": "`, `"class": "x", "accepted": "`, `ID.json:9:16: entry.class: a string does not belong here`},
		{"unknown", entrySuffix, `"envelope"`, `"envelopes"`, `ID.json:10:5: "envelopes" is no field that this program knows`},
		{"newer", entrySuffix, `"postern_message": 1`, `"postern_message": 2`, `ID.json: postern_message: format 2; this program knows format 1`},
		{"other id", entrySuffix, string(id), string(want[0].ID), `ID.json: entry.id: "`},
		{"address", entrySuffix, "joe@a.example", "joe@@", `ID.json: `},
		{"changed", entrySuffix, "joe@a.example", "moe@a.example", `ID.json: its SHA-256 is `},
		{"content", mailSuffix, "0123456789", "0123456780", `ID.eml: it has `},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "box")
			mailtest.Must(t, os.CopyFS(dir, os.DirFS(whole)))
			path := filepath.Join(dir, string(id)+c.suffix)
			good, err := os.ReadFile(path)
			mailtest.Must(t, err)
			bad := strings.Replace(string(good), c.from, c.to, 1)
			if c.name == "cut" {
				bad = string(good[:strings.Index(string(good), c.from)+len(c.from)-1])
			}
			if bad == string(good) {
				t.Fatalf("%q is not in the file", c.from)
			}
			mailtest.Must(t, os.WriteFile(path, []byte(bad), 0o600))
			now := newRig(t)
			o := now.importOptions(dir)
			var told error
			o.Failed = func(failed mail.ID, err error) {
				if told = err; failed != id {
					t.Errorf("message %s failed: %v", failed, err)
				}
			}
			r, err := Import(t.Context(), now, o)
			if err != nil || r.Imported != 2 || r.Failed != 1 {
				t.Errorf("%+v, %v", r, err)
			}
			cause := filepath.Join(dir, strings.Replace(c.cause, "ID", string(id), 1))
			if told == nil || !strings.HasPrefix(told.Error(), cause) {
				t.Errorf("it says %v\nwant     %s…", told, cause)
			}
			mailtest.Must(t, os.WriteFile(path, good, 0o600))
			r, err = Import(t.Context(), now, now.importOptions(dir))
			if err != nil || r.Imported != 1 || r.Failed != 0 || r.Before != 2 {
				t.Errorf("mended: %+v, %v", r, err)
			}
			if got := now.all(); len(got) != 3 {
				t.Errorf("%d messages are in the queue", len(got))
			}
		})
	}
	mailtest.Must(t, os.WriteFile(filepath.Join(whole, sumsName), nil, 0o600))
	if _, err := Import(t.Context(), newRig(t), old.importOptions(whole)); err == nil || !strings.Contains(err.Error(), "SHA256SUMS: its SHA-256 is ") {
		t.Errorf("damaged sums: %v", err)
	}
}

// TestBareNewline: a content that was made to smuggle is not imported.
func TestBareNewline(t *testing.T) {
	r := newRig(t)
	e := r.fill(1)[0]
	for _, content := range []string{"a\r\nb\nc\r\n", "a\rb\r\n", "a\r\n\r"} {
		e.Size = int64(len(content))
		done, err := r.Import(t.Context(), intake.Batch{Export: e.ID}, []admin.Importing{{Entry: e, Content: strings.NewReader(content)}})
		if err != nil || len(done.IDs) > 0 || len(done.Refused) != 1 || !strings.Contains(done.Refused[0].Cause, "stands alone; lines end with CRLF") {
			t.Errorf("%q: %+v, %v", content, done, err)
		}
	}
}

// TestWorkIsBounded: to move a message costs the same however many there are.
func TestWorkIsBounded(t *testing.T) {
	rows := func(messages int) (each float64) {
		old, dir := newRig(t), filepath.Join(t.TempDir(), "box")
		old.fill(messages)
		before, err := old.queue.Stat(t.Context())
		mailtest.Must(t, err)
		_, err = Export(t.Context(), old, &old.ids, old.options(dir, Removed))
		mailtest.Must(t, err)
		after, err := old.queue.Stat(t.Context())
		mailtest.Must(t, err)
		return float64(after.RowsRead-before.RowsRead) / float64(messages)
	}
	if few, many := rows(exportPage), rows(8*exportPage); many > few+0.5 {
		t.Errorf("%.2f rows were read for each of few messages, %.2f for each of many", few, many)
	} else {
		t.Logf("%.2f and %.2f rows for each message", few, many)
	}
}

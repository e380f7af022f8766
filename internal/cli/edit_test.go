package cli

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

func TestReadIDs(t *testing.T) {
	const one, two = "38g934p3c85iftp8", "38g934p3c85iftp9"
	got, err := readIDs(strings.NewReader(two + " 3h  <me@x.example>\n\n" + one + "\n  " + two + "\n"))
	if err != nil || strings.Join(got, " ") != one+" "+two {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := readIDs(strings.NewReader(one + "\nMESSAGE\n")); err == nil || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("got %v", err)
	}
	if got, err := readIDs(strings.NewReader("")); err != nil || len(got) > 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

// verb is the edit of a kind.
func verb(t *testing.T, kind queue.ChangeKind) *edit {
	t.Helper()
	for i := range edits {
		if edits[i].kind == kind {
			return &edits[i]
		}
	}
	t.Fatalf("no verb %s", kind)
	return nil
}

func TestConfirm(t *testing.T) {
	for _, test := range []struct {
		kind     queue.ChangeKind
		messages int
		yes      bool
		said     string
		goes     bool
		asked    bool
	}{
		{queue.ChangeHold, 1, false, "", true, false},
		{queue.ChangeHold, 2, false, "", false, true},
		{queue.ChangeHold, 2, false, "y\n", true, true},
		{queue.ChangeHold, 2, false, "YES", true, true},
		{queue.ChangeHold, 2, false, "yet\n", false, true},
		{queue.ChangeHold, 2, true, "", true, false},
		{queue.ChangeRemove, 1, false, "", false, true},
		{queue.ChangeRemove, 1, false, "y\n", true, true},
		{queue.ChangeRemove, 1, true, "", true, false},
		{queue.ChangeRecipient, 1, false, "n\n", false, true},
	} {
		var errOut bytes.Buffer
		r := editRun{app: &app{out: &output{Writer: new(bytes.Buffer)}, err: &errOut}, edit: verb(t, test.kind), yes: test.yes,
			in: bufio.NewReader(strings.NewReader(test.said))}
		err := r.confirm(&admin.Selection{Messages: test.messages, Changes: 3})
		if asked := strings.Contains(errOut.String(), "3 recipients will be"); (err == nil) != test.goes || asked != test.asked {
			t.Errorf("%+v: %v, asked %q", test, err, errOut.String())
		}
	}
}

func TestShowSelection(t *testing.T) {
	found := admin.Selection{Messages: 2, Recipients: map[mail.State]int{mail.Queued: 1, mail.Held: 2}, Size: 2048, Oldest: time.Now().Add(-time.Hour)}
	const selected = "selected: 2 messages with 3 recipients (1 queued, 0 deferred, 2 held), 2.0 KiB, the oldest waits for 1h0m\n"
	for _, test := range []struct {
		messages, changes int
		dryRun            bool
		want              string
	}{
		{0, 0, false, "nothing in the queue is selected\n"},
		{2, 0, true, selected + "nothing to do: none of them is held\n"},
		{2, 2, true, selected + "2 recipients would be released\n"},
		{2, 2, false, selected},
	} {
		var out bytes.Buffer
		r := editRun{app: &app{out: &output{Writer: &out}}, edit: verb(t, queue.ChangeRelease), dryRun: test.dryRun}
		found.Messages, found.Changes = test.messages, test.changes
		if r.showSelection(&found); out.String() != test.want {
			t.Errorf("got %q, want %q", out.String(), test.want)
		}
	}
}

func TestFinish(t *testing.T) {
	for done, want := range map[queue.Edited]string{
		{}: "", {Changed: 1}: "1 recipient held\n",
		{Changed: 2, Pending: 1}: "2 recipients held\n1 recipient more will be held when the attempt that is under way ends, unless delivered by then\n",
	} {
		var out bytes.Buffer
		r := editRun{app: &app{out: &output{Writer: &out}}, edit: verb(t, queue.ChangeHold)}
		if err := r.finish(&edited{Edited: done}); err != nil || out.String() != want {
			t.Errorf("%+v: got %q, %v, want %q", done, out.String(), err, want)
		}
	}
}

func TestFilterOf(t *testing.T) {
	const id = "38g934p3c85iftp8"
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, ""}, {[]string{id}, "id in (" + id + ")"}, {[]string{id, id}, "id in (" + id + ", " + id + ")"},
		{[]string{"age > 1h"}, "age > 1h"}, {[]string{"age", ">", "1h"}, "age > 1h"},
	} {
		if got, err := filterOf(test.args); err != nil || got != test.want {
			t.Errorf("%q: got %q, %v", test.args, got, err)
		}
	}
	if _, err := filterOf([]string{id, "all"}); err == nil {
		t.Error("an id is taken for a filter")
	}
}

func TestShowShape(t *testing.T) {
	row := func(d mail.Destination, n int) admin.ShapeRow {
		return admin.ShapeRow{Destination: d, Recipients: n, States: map[mail.State]int{mail.Deferred: n}, Ages: []int{0, n, 0}}
	}
	s := admin.Shape{Ages: []int64{900, 259200}, Rows: []admin.ShapeRow{row("x.example", 5)}, Others: row("", 2), Total: row("", 7), Destinations: 3, Estimated: true}
	var out bytes.Buffer
	(&app{out: &output{Writer: &out}}).showShape(&s)
	const want = `DESTINATION  ALL  QUEUED  DEFERRED  HELD  <15m  <3d  OLDER
all          7    0       7         0     .     7    .
x.example    5    0       5         0     .     5    .
2 others     2    0       2         0     .     2    .
there are so many destinations that a row may lack some recipients, which are among the others
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	(&app{out: &output{Writer: &out}}).showShape(&admin.Shape{})
	if out.String() != "nobody waits\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{5 * time.Minute: "5m", time.Hour: "1h", 12 * time.Hour: "12h", 24 * time.Hour: "1d", 72 * time.Hour: "3d"} {
		if got := span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestShowMessage(t *testing.T) {
	e := entry(mail.Held, mail.Queued)
	e.Deliveries[0].Recipients[0].Original = "rfc822;first@y.example"
	m := admin.Message{Entry: *e, Attempting: []mail.Destination{"y.example"},
		Suspensions: []admin.Suspension{{Subject: admin.Subject{What: admin.Sender, Name: "me@x.example"}, Since: time.Now().Add(-time.Minute), Actor: "root", Reason: "spam\x07"}}}
	var out bytes.Buffer
	(&app{out: &output{Writer: &out}}).showMessage(&m)
	for _, want := range []string{
		"WAITS     sender me@x.example is suspended for 1m0s (since ", ") by root: spam\ufffd; `postern resume sender me@x.example` ends that\n",
		"  an attempt is under way\n", "  <held@y.example>  held (dead letter)\n    held because the message failed, and there was nobody to tell\n    the sender wrote to rfc822;first@y.example\n",
		"  postern queue release 38g934p3c85iftp8 ", "  postern queue retry 38g934p3c85iftp8 ", "drop it; nobody is told\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	(&app{out: &output{Writer: &out}}).showMessage(&admin.Message{Entry: *entry(mail.Held)})
	if strings.Contains(out.String(), "queue hold") || strings.Contains(out.String(), "under way") || !strings.Contains(out.String(), "queue release") {
		t.Errorf("of a held message it says\n%s", out.String())
	}
}

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

const (
	messageA = mail.ID("aaaaaaaaaaaaaaaa")
	messageB = mail.ID("bbbbbbbbbbbbbbbb")
	session  = mail.ID("0000000000000000")
)

// story writes facts into files that begin an hour apart, two facts a file.
func story(t *testing.T) (dir string, facts []mail.Fact) {
	t.Helper()
	dir = t.TempDir()
	clock := mail.NewManualClock(noon)
	o := options()
	o.Limits.MaxFile, o.Clock, o.Delay = 1, clock, time.Hour
	facts = []mail.Fact{
		{Reason: mail.ReasonStarted},
		{Reason: mail.ReasonRefused, Session: session, Text: "not about " + string(messageA)},
		{Reason: mail.ReasonAccepted, Session: session, Message: messageA, From: "<joe@x.example>", To: []string{"ann@y.example", "Bob@z.example"}},
		{Reason: mail.ReasonDelivered, Message: messageA, From: "<joe@x.example>", To: []string{"ann@y.example"}},
		{Reason: mail.ReasonAccepted, Message: messageB, About: messageA, From: "<>", To: []string{"joe@x.example"}, Text: "bounced? no: a report"},
		{Reason: mail.ReasonBounced, Message: messageB},
	}
	for i, f := range facts {
		if i%2 == 0 {
			j := mustOpen(t, dir, o)
			j.Record(f)
			j.Record(facts[i+1])
			mustClose(t, j)
			clock.Advance(time.Hour)
		}
	}
	return dir, facts
}

func TestQuery(t *testing.T) {
	dir, _ := story(t)
	all := []string{
		"direct 1 started", "direct 2 refused", "direct 3 accepted",
		"direct 4 delivered", "direct 5 accepted", "direct 6 bounced",
	}
	for title, test := range map[string]struct {
		query Query
		want  []string
	}{
		"all":                  {Query{}, all},
		"message and about":    {Query{Message: messageA}, all[2:5]},
		"message":              {Query{Message: messageB}, all[4:]},
		"session":              {Query{Session: session}, all[1:3]},
		"message and session":  {Query{Message: messageA, Session: session}, all[2:3]},
		"no such message":      {Query{Message: "cccccccccccccccc"}, nil},
		"one reason":           {Query{Reasons: []mail.Reason{mail.ReasonBounced}}, all[5:]},
		"two reasons":          {Query{Reasons: []mail.Reason{mail.ReasonBounced, mail.ReasonStarted}}, []string{all[0], all[5]}},
		"sender":               {Query{From: "Joe@X.example"}, all[2:4]},
		"any sender":           {Query{From: "*"}, all[2:5]},
		"null sender":          {Query{From: "<>"}, all[4:5]},
		"senders of a domain":  {Query{From: "*@x.example"}, all[2:4]},
		"recipient":            {Query{To: "bob@z.example"}, all[2:3]},
		"recipients":           {Query{To: "*.example"}, all[2:5]},
		"both":                 {Query{From: "joe@*", To: "ann@*"}, all[2:4]},
		"both and reason":      {Query{From: "joe@*", To: "ann@*", Reasons: []mail.Reason{mail.ReasonDelivered}}, all[3:4]},
		"nobody":               {Query{From: "ann@y.example"}, nil},
		"since":                {Query{Since: noon.Add(time.Hour)}, all[2:]},
		"since a later moment": {Query{Since: noon.Add(time.Hour + time.Nanosecond)}, all[4:]},
		"since the future":     {Query{Since: noon.Add(24 * time.Hour)}, nil},
		"last":                 {Query{Last: 1}, all[5:]},
		"last over files":      {Query{Last: 3}, all[3:]},
		"last of few":          {Query{Last: 99}, all},
		"last of a message":    {Query{Last: 2, Message: messageA}, all[3:5]},
		"last none":            {Query{Last: -1}, nil},
	} {
		t.Run(title, func(t *testing.T) {
			want(t, names(t, dir, test.query), test.want)
			o := options()
			j := mustOpen(t, dir, o)
			defer j.Close()
			var got []string
			err := j.Read(t.Context(), test.query, func(f mail.Fact) error { got = append(got, name(f)); return nil })
			if err != nil {
				t.Fatal(err)
			}
			want(t, got, test.want)
		})
	}
}

func TestQueryLimits(t *testing.T) {
	dir, _ := story(t)
	if _, err := readNames(dir, Query{Last: MaxLast + 1}); err == nil || !strings.Contains(err.Error(), "at most 10000") {
		t.Errorf("too many: %v", err)
	}
	if _, err := readNames(filepath.Join(dir, "missing"), Query{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestReadStops(t *testing.T) {
	dir, _ := story(t)
	stop := errors.New("enough")
	for _, q := range []Query{{}, {Last: 5}} {
		calls := 0
		err := Read(t.Context(), dir, q, func(mail.Fact) error { calls++; return stop })
		if err != stop || calls != 1 {
			t.Errorf("query %+v: %d calls, error %v", q, calls, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := Read(ended, dir, Query{}, func(mail.Fact) error { t.Error("visited"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

// The last facts of a long file are found however far back they stand, and
// the lines are counted right although they were not all read.
func TestLastOfALongFile(t *testing.T) {
	dir := t.TempDir()
	const n = 3000
	var b bytes.Buffer
	fmt.Fprintln(&b, `{"journal":1,"time":"2026-01-02T12:00:00Z","marks":{}}`)
	for i := uint64(1); i <= n; i++ {
		f := queueFact(i)
		f.Text = strings.Repeat("x", int(i%900))
		if i == 10 {
			f.Reason = mail.ReasonBounced
		}
		if i == n-5 {
			fmt.Fprintln(&b, "damaged")
		}
		b.Write(appendLine(nil, &f))
	}
	if b.Len() < 10*firstWindow {
		t.Fatalf("%d octets do not make several windows", b.Len())
	}
	path := filepath.Join(dir, segment{number: 1, started: noon}.name())
	writeFile(t, path, b.Bytes())
	for _, last := range []int{1, 10, 2000, n, n + 1} {
		got, err := readNames(dir, Query{Last: last, Reasons: []mail.Reason{mail.ReasonAccepted}})
		whole := append(queueNames(1, 9), queueNames(11, n)...)
		want(t, got, whole[max(0, len(whole)-last):])
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Count != 1 || damage.Places[0] != (mail.Place{File: path, Line: n - 5 + 1}) {
			t.Errorf("last %d: %v, want damage on line %d", last, err, n-5+1)
		}
	}
	got, _ := readNames(dir, Query{Last: 1, Reasons: []mail.Reason{mail.ReasonBounced}})
	want(t, got, []string{"queue 10 bounced"})
}

func TestDamageIsCounted(t *testing.T) {
	dir := t.TempDir()
	lines := `{"journal":1,"marks":{}}` + "\n" +
		strings.Repeat("garbage\n", maxPlaces) + strings.Repeat("x", maxLine+1) + "\n" +
		`{"source":"queue","n":1,"reason":"accepted","time":"2026-01-02T12:00:00Z"}` + "\n" +
		`{"source":"queue","n":2}` + "\n" + `{"n":"two"}` + "\n" + `{"source":"que`
	first := filepath.Join(dir, segment{number: 1, started: noon}.name())
	writeFile(t, first, []byte(lines))
	damaged := func(count int) {
		t.Helper()
		got, err := readNames(dir, Query{})
		want(t, got, []string{"queue 1 accepted"})
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Count != count || len(damage.Places) != maxPlaces {
			t.Fatalf("Read: %v, want %d damaged lines of which %d places are kept", err, count, maxPlaces)
		}
		if !strings.HasPrefix(err.Error(), first+":2: ") || !strings.Contains(err.Error(), fmt.Sprintf("the first of %d", count)) {
			t.Errorf("error %q", err)
		}
	}
	damaged(maxPlaces + 3) // the last line may still be written
	writeFile(t, filepath.Join(dir, segment{number: 2, started: noon}.name()), []byte("{\"journal\":1}\n"))
	damaged(maxPlaces + 4) // now it cannot be
}

func TestFollow(t *testing.T) {
	dir, _ := story(t)
	o := options()
	o.Limits.MaxFile = 1 // each group begins a new file
	j := mustOpen(t, dir, o)
	seen := make(chan string)
	follow := func(ctx context.Context, q Query) <-chan error {
		result := make(chan error, 1)
		go func() {
			result <- j.Follow(ctx, q, func(f mail.Fact) error { seen <- name(f); return nil })
		}()
		return result
	}
	expect := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if got := <-seen; got != name {
				t.Fatalf("followed %s, want %s", got, name)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := follow(ctx, Query{Last: 1})
	expect("direct 6 bounced")
	for n := 7; n <= 9; n++ {
		j.Record(mail.Fact{Reason: mail.ReasonRefused})
		expect(fmt.Sprintf("direct %d refused", n))
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow: %v, want the error of its context", err)
	}

	result = follow(t.Context(), Query{Reasons: []mail.Reason{mail.ReasonStarted, mail.ReasonStopped}})
	expect("direct 1 started")
	j.Record(mail.Fact{Reason: mail.ReasonRefused})
	j.Record(mail.Fact{Reason: mail.ReasonStopped})
	go j.Close()
	expect("direct 11 stopped")
	if err := <-result; err != nil {
		t.Errorf("Follow of a closed journal: %v", err)
	}
	stop := errors.New("enough")
	if err := j.Follow(t.Context(), Query{Last: 1}, func(mail.Fact) error { return stop }); err != stop {
		t.Errorf("Follow: %v, want the error of visit", err)
	}
}

// A reader sees no line before it is synced.
func TestReadEndsWhereItIsSynced(t *testing.T) {
	disk := &brokenDisk{gate: make(chan struct{}), syncs: make(chan struct{}, 8)}
	j, err := open(t.TempDir(), options(), disk.create)
	if err != nil {
		t.Fatal(err)
	}
	j.Record(mail.Fact{Reason: mail.ReasonStarted})
	<-disk.syncs // written, and in the midst of Sync
	count := 0
	read := func() {
		if err := j.Read(t.Context(), Query{}, func(mail.Fact) error { count++; return nil }); err != nil {
			t.Error(err)
		}
	}
	if read(); count != 0 {
		t.Errorf("%d facts before the sync", count)
	}
	close(disk.gate)
	mustClose(t, j)
	if read(); count != 1 {
		t.Errorf("%d facts after the sync", count)
	}
}

// Whatever the last file of a journal holds, opening it fails cleanly or
// makes it fit to write to, and what is written then can be read.
func FuzzOpen(f *testing.F) {
	header := "{\"journal\":1,\"marks\":{\"queue\":3,\"direct\":2}}\n"
	fact := "{\"source\":\"queue\",\"n\":4,\"reason\":\"accepted\"}\n"
	for _, seed := range []string{
		"", header, header + fact, header + fact + fact[:20], header + "\x00\x00\n" + fact, fact + header,
		"{\"journal\":2}\n", header + "{}\n" + "[]\n" + "null\n" + fact, strings.Repeat("\n", 5), header[:len(header)-1],
		"{\"journal\":1,\"marks\":{\"direct\":18446744073709551615}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, segment{number: 1, started: noon}.name())
		writeFile(t, path, content)
		o := options()
		o.Delay = time.Hour
		j, err := Open(dir, o)
		if err != nil {
			if !errors.Is(err, errVersion) {
				t.Fatalf("Open: %v", err)
			}
			return
		}
		defer j.Close()
		j.Record(mail.Fact{Reason: mail.ReasonStopped, Session: session})
		if err := j.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		for _, q := range []Query{{Session: session}, {Session: session, Last: 1}} {
			got, err := readNames(dir, q)
			var damage *DamageError
			if err != nil && !errors.As(err, &damage) {
				t.Fatalf("Read: %v", err)
			}
			if len(got) == 0 || !strings.HasSuffix(got[len(got)-1], " stopped") {
				t.Fatalf("the recorded fact cannot be read: %q", got)
			}
		}
	})
}

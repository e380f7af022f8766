package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// options are such that nothing has to be waited for.
func options() Options {
	return Options{
		Delay: time.Microsecond, Retry: time.Microsecond,
		Clock: mail.NewManualClock(noon), Logger: slog.New(slog.DiscardHandler),
	}
}

func mustOpen(t *testing.T, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func mustClose(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// names reads a directory and returns "source n reason" of each fact.
func names(t *testing.T, dir string, q Query) []string {
	t.Helper()
	got, err := readNames(dir, q)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readNames(dir string, q Query) ([]string, error) {
	var got []string
	err := Read(context.Background(), dir, q, func(f mail.Fact) error {
		got = append(got, name(f))
		return nil
	})
	return got, err
}

func name(f mail.Fact) string { return fmt.Sprintf("%s %d %s", f.Source, f.N, f.Reason) }

// queueNames are the names of the queue's facts first to last.
func queueNames(first, last uint64) []string {
	var list []string
	for n := first; n <= last; n++ {
		list = append(list, name(queueFact(n)))
	}
	return list
}

func queueFact(n uint64) mail.Fact {
	return mail.Fact{Source: "queue", N: n, Time: noon, Reason: mail.ReasonAccepted}
}

func want(t *testing.T, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// memorySource is a source in memory.
type memorySource struct {
	mu        sync.Mutex
	facts     []mail.Fact
	last      uint64
	forgetErr error
	wake      chan struct{}
}

func newSource() *memorySource { return &memorySource{wake: make(chan struct{}, 1)} }

func (s *memorySource) commit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.last++
		s.facts = append(s.facts, queueFact(s.last))
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *memorySource) NextFacts(ctx context.Context, after uint64, limit int) ([]mail.Fact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []mail.Fact
	for _, f := range s.facts {
		if f.N > after && len(list) < limit {
			list = append(list, f)
		}
	}
	return list, ctx.Err()
}

func (s *memorySource) ForgetFacts(_ context.Context, n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgetErr != nil {
		return s.forgetErr
	}
	for len(s.facts) > 0 && s.facts[0].N <= n {
		s.facts = s.facts[1:]
	}
	s.last = max(s.last, n)
	return nil
}

func (s *memorySource) FactsWake() <-chan struct{} { return s.wake }

func (s *memorySource) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.facts)
}

// copyAll copies what the source has.
func copyAll(t *testing.T, j *Journal, s *memorySource) {
	t.Helper()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Copy(ended, s); err != nil {
		t.Fatal(err)
	}
	if s.held() != 0 {
		t.Errorf("the source still holds %d facts", s.held())
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range list {
		paths = append(paths, filepath.Join(dir, s.name()))
	}
	return paths
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRecordedFactsAreNumberedAcrossRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "journal")
	j := mustOpen(t, dir, options())
	j.Record(mail.Fact{Reason: mail.ReasonStarted})
	j.Record(mail.Fact{Reason: mail.ReasonRefused, From: "<joe@example.com>", Time: noon.Add(time.Hour)})
	mustClose(t, j)
	j.Record(mail.Fact{Reason: mail.ReasonStopped}) // after Close: nothing
	j = mustOpen(t, dir, options())
	j.Record(mail.Fact{Reason: mail.ReasonStarted})
	mustClose(t, j)

	want(t, names(t, dir, Query{}), []string{"direct 1 started", "direct 2 refused", "direct 3 started"})
	text := string(readFile(t, files(t, dir)[0]))
	for _, part := range []string{`"time":"2026-01-02T12:00:00Z"`, `"time":"2026-01-02T13:00:00Z"`, `"<joe@example.com>"`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in the file:\n%s", part, text)
		}
	}
}

func TestCopyRotatesWithMarks(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile = 300
	j := mustOpen(t, dir, o)
	s := newSource()
	for range 20 {
		s.commit(1)
		j.Record(mail.Fact{Reason: mail.ReasonRefused})
		copyAll(t, j, s)
	}
	mustClose(t, j)
	want(t, names(t, dir, Query{Reasons: []mail.Reason{mail.ReasonAccepted}}), queueNames(1, 20))

	paths := files(t, dir)
	if len(paths) < 5 {
		t.Fatalf("%d files, want more: %v", len(paths), paths)
	}
	marks := map[string]uint64{}
	for _, path := range paths {
		for i, line := range bytes.Split(bytes.TrimSpace(readFile(t, path)), []byte("\n")) {
			if i == 0 {
				h, err := parseHeader(line)
				if diff := cmp.Diff(marks, h.Marks); err != nil || diff != "" {
					t.Errorf("%s: marks: error %v, -want +got\n%s", path, err, diff)
				}
				continue
			}
			f, err := parseFact(line)
			if err != nil || f.N != marks[f.Source]+1 {
				t.Errorf("%s: fact %s after %d, error %v", path, name(f), marks[f.Source], err)
			}
			marks[f.Source] = f.N
		}
	}
}

func TestKeepRemovesTheOldest(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile, o.Limits.Keep = 1, 3
	j := mustOpen(t, dir, o)
	s := newSource()
	for range 10 {
		s.commit(1)
		copyAll(t, j, s)
	}
	mustClose(t, j)
	want(t, names(t, dir, Query{}), queueNames(8, 10))
}

// TestChange: other limits hold from the next file on.
func TestChange(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile, o.Limits.Keep = 1, 8
	j := mustOpen(t, dir, o)
	s := newSource()
	write := func() {
		for range 6 {
			s.commit(1)
			copyAll(t, j, s)
		}
	}
	write()
	j.Change(Limits{MaxFile: 1, Keep: 2})
	write()
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files are kept, want 2", n)
	}
	j.Change(Limits{})
	write()
	mustClose(t, j)
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files, want 2: the last one is not full", n)
	}
	want(t, names(t, dir, Query{}), queueNames(11, 18))
}

func TestCrashBetweenWriteAndForget(t *testing.T) {
	dir := t.TempDir()
	s := newSource()
	s.commit(3)
	s.forgetErr = errors.New("crashed")
	j := mustOpen(t, dir, options())
	if err := j.Copy(t.Context(), s); !errors.Is(err, s.forgetErr) {
		t.Fatalf("Copy: %v, want the source's error", err)
	}
	mustClose(t, j)
	if s.held() != 3 {
		t.Fatalf("the source holds %d facts, want 3", s.held())
	}

	s.forgetErr = nil
	j = mustOpen(t, dir, options())
	if err := j.Trim(t.Context(), "queue", s); err != nil {
		t.Fatal(err)
	}
	if s.held() != 0 {
		t.Errorf("after Trim the source holds %d facts", s.held())
	}
	s.commit(2)
	copyAll(t, j, s)
	mustClose(t, j)
	want(t, names(t, dir, Query{}), queueNames(1, 5))
}

// Without Trim, Copy itself must not double what the journal has.
func TestCopyPassesOverWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	s := newSource()
	s.commit(3)
	first := s.facts
	j := mustOpen(t, dir, options())
	copyAll(t, j, s)
	s.facts = first
	s.commit(1)
	copyAll(t, j, s)
	mustClose(t, j)
	want(t, names(t, dir, Query{}), queueNames(1, 4))
}

// A source whose storage was lost must not number again from 1.
func TestTrimMovesALostSourceOn(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, options())
	s := newSource()
	s.commit(3)
	copyAll(t, j, s)
	lost := newSource()
	if err := j.Trim(t.Context(), "queue", lost); err != nil {
		t.Fatal(err)
	}
	lost.commit(1)
	copyAll(t, j, lost)
	mustClose(t, j)
	want(t, names(t, dir, Query{}), queueNames(1, 4))
}

func TestCopyFollowsTheSource(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, options())
	s := newSource()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- j.Copy(ctx, s) }()
	seen := make(chan mail.Fact)
	go j.Follow(ctx, Query{}, func(f mail.Fact) error { seen <- f; return nil })
	for n := uint64(1); n <= 3; n++ {
		s.commit(1)
		if f := <-seen; f.N != n {
			t.Fatalf("fact %d, want %d", f.N, n)
		}
	}
	s.commit(copyLimit + 5) // still to be copied when ctx ends
	cancel()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	want(t, names(t, dir, Query{}), queueNames(1, copyLimit+8))
	if err := j.Copy(t.Context(), sourceOf(queueFact(9999))); !errors.Is(err, ErrClosed) {
		t.Errorf("Copy after Close: %v", err)
	}
}

func sourceOf(facts ...mail.Fact) *memorySource {
	s := newSource()
	s.facts = facts
	return s
}

func TestCopyRefusesABrokenSource(t *testing.T) {
	for title, test := range map[string]struct {
		facts []mail.Fact
		want  string
	}{
		"order":         {[]mail.Fact{queueFact(2), queueFact(1)}, "fact 1 of source queue came after fact 2"},
		"doubled":       {[]mail.Fact{queueFact(2), queueFact(2)}, "fact 2 of source queue came after fact 2"},
		"no source":     {[]mail.Fact{{N: 1, Reason: "x"}}, `fact 1 says it is of source ""`},
		"direct":        {[]mail.Fact{{Source: Direct, N: 1, Reason: "x"}}, `fact 1 says it is of source "direct"`},
		"other sources": {[]mail.Fact{queueFact(1), {Source: "b", N: 2, Reason: "x"}}, `fact 2 says it is of source "b"`},
	} {
		t.Run(title, func(t *testing.T) {
			j := mustOpen(t, t.TempDir(), options())
			err := j.Copy(t.Context(), sourceOf(test.facts...))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Copy: %v, want %s", err, test.want)
			}
		})
	}
}

// brokenDisk makes files whose Sync fails while err is set, after it took the
// bytes, and blocks while gate is.
type brokenDisk struct {
	mu    sync.Mutex
	err   error
	gate  chan struct{}
	syncs chan struct{} // receives when a Sync of facts begins
}

type brokenFile struct {
	file
	disk  *brokenDisk
	begun bool // the first Sync is that of the header
}

func (d *brokenDisk) create(path string) (file, error) {
	f, err := createFile(path)
	return &brokenFile{file: f, disk: d}, err
}

func (d *brokenDisk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (f *brokenFile) Sync() error {
	d := f.disk
	if f.begun && d.gate != nil {
		d.syncs <- struct{}{}
		<-d.gate
	}
	f.begun = true
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	return f.file.Sync()
}

func TestFailedSyncIsWrittenAgainToANewFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		failures := make(chan error, 10) // more writes in three minutes would block, and fail the test
		o := Options{Retry: time.Minute, Logger: slog.New(slog.DiscardHandler)}
		o.Failed = func(err error) { failures <- err }
		disk := &brokenDisk{}
		j, err := open(dir, o, disk.create)
		if err != nil {
			t.Fatal(err)
		}
		s := newSource()
		s.commit(2)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- j.Copy(ctx, s) }()
		time.Sleep(time.Second)

		eio := errors.New("input/output error")
		disk.fail(eio)
		j.Record(mail.Fact{Reason: mail.ReasonRefused})
		s.commit(2)
		time.Sleep(3 * time.Minute)
		if err := <-failures; s.held() != 2 || !errors.Is(err, eio) {
			t.Errorf("the source holds %d facts, want 2; failure %v, want %v", s.held(), err, eio)
		}
		want(t, names(t, dir, Query{}), queueNames(1, 2))

		disk.fail(nil)
		time.Sleep(2 * time.Minute)
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
		mustClose(t, j)
		got := names(t, dir, Query{})
		want(t, without(got, "direct 1 refused"), queueNames(1, 4))
		if len(got) != 5 || len(files(t, dir)) != 2 {
			t.Errorf("facts %v in files %v, want 5 in 2", got, files(t, dir))
		}
	})
}

func without(list []string, name string) []string {
	var rest []string
	for _, s := range list {
		if s != name {
			rest = append(rest, s)
		}
	}
	return rest
}

func TestCloseTellsWhatItCouldNotWrite(t *testing.T) {
	disk := &brokenDisk{}
	o := options()
	o.Delay = time.Hour
	j, err := open(t.TempDir(), o, disk.create)
	if err != nil {
		t.Fatal(err)
	}
	disk.fail(errors.New("no space left on device"))
	j.Record(mail.Fact{Reason: mail.ReasonStopped})
	for range 2 {
		if err := j.Close(); !errors.Is(err, disk.err) {
			t.Errorf("Close: %v, want %v", err, disk.err)
		}
	}
}

func TestOverflowIsCounted(t *testing.T) {
	dir := t.TempDir()
	disk := &brokenDisk{gate: make(chan struct{}), syncs: make(chan struct{}, 8)}
	o := options()
	o.Buffer = 3
	j, err := open(dir, o, disk.create)
	if err != nil {
		t.Fatal(err)
	}
	record := func(reason mail.Reason, n int) {
		for range n {
			j.Record(mail.Fact{Reason: reason})
		}
	}
	record(mail.ReasonStarted, 1)
	<-disk.syncs // the writer stands in Sync; its fact keeps its room until then
	record(mail.ReasonRefused, 4)
	record(mail.ReasonMarked, 1)
	if got := j.Lost(); got != 3 {
		t.Errorf("%d are lost, want 3", got)
	}
	close(disk.gate)
	mustClose(t, j)
	if lost, last := j.Lost(), j.Last(Direct); lost != 3 || last != 5 {
		t.Errorf("when they are counted in the journal, %d are lost and the last is %d; want 3 and 5", lost, last)
	}
	want(t, names(t, dir, Query{}), []string{
		"direct 1 started", "direct 2 refused", "direct 3 refused", "direct 4 overflow", "direct 5 overflow",
	})
	var counts []string
	err = Read(t.Context(), dir, Query{Reasons: []mail.Reason{mail.ReasonOverflow}}, func(f mail.Fact) error {
		counts = append(counts, fmt.Sprint(f.Text, " ", f.Count, " ", f.Time.Equal(noon)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, counts, []string{"marked 1 true", "refused 2 true"})
}

func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile = 4 << 10
	j := mustOpen(t, dir, o)
	s := newSource()
	ctx, cancel := context.WithCancel(t.Context())
	const writers, each = 4, 100
	var followed []string
	var wait sync.WaitGroup
	wait.Go(func() {
		j.Follow(context.Background(), Query{}, func(f mail.Fact) error {
			followed = append(followed, name(f))
			return nil
		})
	})
	copied := make(chan error, 1)
	go func() { copied <- j.Copy(ctx, s) }()
	var record sync.WaitGroup
	for range writers {
		record.Go(func() {
			for range each {
				j.Record(mail.Fact{Reason: mail.ReasonRefused})
				s.commit(1)
			}
		})
	}
	record.Wait()
	cancel()
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	wait.Wait()
	all := names(t, dir, Query{})
	want(t, followed, all)
	want(t, names(t, dir, Query{Reasons: []mail.Reason{mail.ReasonAccepted}}), queueNames(1, writers*each))
	if len(all) != 2*writers*each {
		t.Errorf("%d facts, want %d", len(all), 2*writers*each)
	}
}

func TestOneProcessWrites(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, options())
	if _, err := Open(dir, options()); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("second Open: %v", err)
	}
	mustClose(t, j)
	mustClose(t, mustOpen(t, dir, options()))
}

func TestOpenNeedsADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, nil)
	if _, err := Open(path, options()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Open: %v, want an error that names %s", err, path)
	}
}

func TestFactThatDoesNotFit(t *testing.T) {
	huge := queueFact(7)
	huge.Message, huge.To = "0123456789abcdef", []string{strings.Repeat("x", maxLine)}
	odd := queueFact(8)
	odd.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, f := range []mail.Fact{huge, odd} {
		got, err := parseFact(bytes.TrimSuffix(appendLine(nil, &f), []byte("\n")))
		if err != nil || name(got) != name(f) || got.Message != f.Message {
			t.Errorf("fact %s: got %s, error %v", name(f), name(got), err)
		}
		if !strings.Contains(got.Text, fmt.Sprintf("with %d recipients, could not be written", len(f.To))) {
			t.Errorf("text %q does not tell", got.Text)
		}
	}
}

func TestDefaults(t *testing.T) {
	o := Options{}.withDefaults()
	if l := o.Limits.withDefaults(); l.MaxFile <= 0 || l.Keep != 0 || o.Buffer <= 0 || o.Delay <= 0 || o.Retry <= 0 || o.Clock == nil || o.Logger == nil {
		t.Errorf("defaults are missing: %+v", o)
	}
	o.Failed(errors.New("nobody listens"))
}

func TestHeaderIsOneLineOfJSON(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, dir, options()))
	var got map[string]any
	if err := json.Unmarshal(readFile(t, files(t, dir)[0]), &got); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]any{"journal": 1.0, "time": "2026-01-02T12:00:00Z", "marks": map[string]any{}}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

package embedded_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// TestDamagedBlock: a block of contents that cannot be read costs the messages
// in it, which are set aside with a fact, and nothing else: the store opens,
// accepts and delivers, and tells of the file once.
func TestDamagedBlock(t *testing.T) {
	files, clock := vfs.NewMem(), mail.NewManualClock(noon)
	var ids mail.IDs
	stored := make(map[mail.ID]bool)
	s := open(t, "queue", embedded.Options{FS: files, Clock: clock})
	for range 300 {
		id := ids.New(noon)
		mailtest.Must(t, submitContent(t.Context(), s, entryTo(id, "one.example"), bytes.Repeat([]byte(id), 300)))
		stored[id] = true
	}
	mailtest.Must(t, s.Close())
	mailtest.Must(t, open(t, "queue", embedded.Options{FS: files, Clock: clock}).Close()) // makes a table of the log
	table := ""
	for path, size := range paths(t, files, "queue/db-2") {
		if strings.HasSuffix(path, ".sst") && size > 1000 {
			table = path
			flipBit(t, files, path, size*8/3) // contents come before all else
		}
	}
	var log bytes.Buffer
	s = open(t, "queue", embedded.Options{FS: files, Clock: clock, Logger: textLogger(&log)})
	clock.Advance(time.Minute)
	for {
		leases, err := s.Claim(t.Context(), "one.example", 50, clock.Now(), clock.Now().Add(time.Hour))
		mailtest.Must(t, err)
		if len(leases) == 0 {
			break
		}
		for _, l := range leases {
			content, err := readBody(s, l.Entry.Body)
			if err != nil {
				mailtest.Must(t, s.Release(t.Context(), []queue.Lease{l}, clock.Now())) // as who delivers does
				continue
			}
			if !bytes.Equal(content, bytes.Repeat([]byte(l.Entry.ID), 300)) {
				t.Errorf("content of %s: %d octets of something else", l.Entry.ID, len(content))
			}
			mailtest.Must(t, settleAs(t.Context(), s, l, mail.Delivered))
			delete(stored, l.Entry.ID)
		}
	}
	aside, err := s.Damaged(t.Context(), queue.Page{})
	mailtest.Must(t, err)
	for _, d := range aside {
		delete(stored, d.ID)
	}
	for _, d := range aside {
		if strings.Contains(d.Cause, "\n") {
			t.Errorf("the cause has two lines: %q", d.Cause)
		}
	}
	if len(stored) > 0 || len(aside) == 0 || len(aside) > 10 {
		t.Errorf("%d entries are neither delivered nor set aside, %d are set aside", len(stored), len(aside))
	}
	if got := s.DamagedFiles(); len(got) != 1 || got[0] != table {
		t.Errorf("damaged files are %v, want %s", got, table)
	}
	if n := strings.Count(log.String(), "a file of the database is damaged"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, log.String())
	}
	if err := s.Stuck(); err != nil {
		t.Errorf("stuck: %v", err)
	}
}

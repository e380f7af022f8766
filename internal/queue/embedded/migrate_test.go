package embedded_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// formatOne makes a store of format 1, all of it durable, with one entry for
// each id.
func formatOne(t *testing.T, ids []mail.ID) *vfs.MemFS {
	t.Helper()
	files := vfs.NewCrashableMem()
	mailtest.Must(t, files.MkdirAll("queue", 0o700))
	db, err := pebble.Open("queue/db", &pebble.Options{FS: files, FormatMajorVersion: pebble.FormatValueSeparation, Logger: quiet{}})
	mailtest.Must(t, err)
	set := func(key string, value []byte) { mailtest.Must(t, db.Set([]byte(key), value, pebble.Sync)) }
	encode := func(v any) []byte {
		encoded, err := json.Marshal(v)
		mailtest.Must(t, err)
		return encoded
	}
	set("v", []byte("1"))
	for i, id := range ids {
		e := entryTo(id, "one.example")
		e.Body, e.Size = id, int64(len(contentOf(id)))
		delivery := e.Deliveries[0]
		e.Deliveries = nil
		set("e"+string(id), encode(&e))
		set("d"+string(id)+"\x00one.example", encode(&delivery))
		set("u"+string(id)+"\x00"+string(id), nil)
		const chunk = 256 << 10
		set("b"+string(id), fmt.Appendf(nil, `{"size":%d,"chunk":%d}`, e.Size, chunk))
		for n, rest := 0, contentOf(id); len(rest) > 0; n++ {
			part := rest[:min(chunk, len(rest))]
			rest = rest[len(part):]
			k := binary.BigEndian.AppendUint32([]byte("c"+string(id)+"\x00"), uint32(n))
			sum := crc32.Checksum(append(k[:len(k):len(k)], part...), crc32.MakeTable(crc32.Castagnoli))
			mailtest.Must(t, db.Set(k, append(binary.BigEndian.AppendUint32(nil, sum), part...), pebble.Sync))
		}
		set("f"+string(binary.BigEndian.AppendUint64(nil, uint64(i)+1)), encode(mail.Fact{Time: noon, Reason: mail.ReasonAccepted, Message: id}))
	}
	mailtest.Must(t, db.Close())
	syncNames(t, files, "")
	return files
}

// migrated are contents for the database, a segment, and a file of its own.
var migrated = []mail.ID{smallID, otherID, largeID, "00000000000000h1"}

// checkMigrated looks for all that there was, in a store that opens.
func checkMigrated(t *testing.T, files vfs.FS) {
	t.Helper()
	s, err := embedded.Open("queue", embedded.Options{FS: files, Clock: mail.NewManualClock(noon)})
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	for _, id := range migrated {
		e, err := s.Get(t.Context(), id)
		if err != nil || len(e.Deliveries) != 1 || e.Deliveries[0].Recipients[0].State != mail.Queued {
			t.Errorf("%s: %+v, %v", id, e, err)
		}
		if content, err := readBody(s, id); err != nil || string(content) != string(contentOf(id)) {
			t.Errorf("content of %s: %d octets, %v", id, len(content), err)
		}
	}
	if facts, err := s.NextFacts(t.Context(), 0, 10); err != nil || len(facts) != len(migrated) {
		t.Errorf("%d facts, %v", len(facts), err)
	}
	if names, err := files.List("queue"); err != nil || strings.Contains(" "+strings.Join(names, " ")+" ", " db ") {
		t.Errorf("after the migration there are %q, %v", names, err)
	}
}

// TestMigrationCut kills a migration, or cuts the power, before each of its
// operations: the next start ends it, or does it anew.
func TestMigrationCut(t *testing.T) {
	step := 5
	if mailtest.Long() {
		step = 1
	}
	checkMigrated(t, formatOne(t, migrated))
	for n := 1; !t.Failed(); n += step {
		disk := newCutting(formatOne(t, migrated), n)
		checkMigrated(t, disk)
		if disk.left == nil {
			break
		}
		for how, left := range map[string]vfs.FS{"killed": disk.killed, "cut": disk.left} {
			if checkMigrated(t, left); t.Failed() {
				t.Fatalf("%s before operation %d", how, n)
			}
		}
	}
}

// TestSalvageOfMigrated: what was migrated can be put together from the body
// log like all else.
func TestSalvageOfMigrated(t *testing.T) {
	files := formatOne(t, migrated)
	o := embedded.Options{FS: files, Clock: mail.NewManualClock(noon)}
	mailtest.Must(t, open(t, "queue", o).Close())
	mailtest.Must(t, files.RemoveAll("queue/db-2"))
	if _, err := embedded.Open("queue", o); !errors.Is(err, queue.ErrDamaged) {
		t.Fatalf("a store without its database: %v", err)
	}
	h := &harmed{files: files, options: o}
	want := map[mail.ID]mail.State{largeID: mail.Held, "00000000000000h1": mail.Held}
	if got := h.salvaged(t, files, false); !maps.Equal(got, want) {
		t.Errorf("salvaged are %v, want %v", got, want)
	}
}

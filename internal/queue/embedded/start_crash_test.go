package embedded_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue/embedded"
)

// TestStartCut kills a start and what it does first, or cuts the power, before
// each operation, and does the same to the start that follows. Every start
// succeeds, and what was acknowledged before is there.
func TestStartCut(t *testing.T) {
	step := 9
	if mailtest.Long() {
		step = 2
	}
	disk := newDisk()
	s := open(t, "queue", embedded.Options{FS: disk, Clock: mail.NewManualClock(noon)})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	mailtest.Must(t, submit(t.Context(), s, entryTo(largeID, "one.example")))
	first := started{t: t, step: step}
	first.cut(disk.memory.CrashClone(vfs.CrashCloneCfg{}), 2)
	empty := started{t: t, step: step, fresh: true}
	empty.cut(vfs.NewCrashableMem(), 2)
	t.Logf("%d starts", first.count+empty.count)
}

// started are starts that are cut short.
type started struct {
	t     *testing.T
	step  int
	fresh bool // there was no store at first
	count int
}

// cut starts on what a disk had, cuts that at each operation, and goes on with
// what was left so many times more.
func (st *started) cut(from vfs.FS, depth int) {
	for n := 1; !st.t.Failed(); n += st.step {
		memory := vfs.NewCrashableMem()
		if _, err := vfs.Clone(from, memory, "", "", vfs.CloneSync); err != nil {
			st.t.Fatal(err)
		}
		syncNames(st.t, memory, "")
		disk := newCutting(memory, n)
		st.start(disk, fmt.Sprintf("%d", n))
		if disk.left == nil {
			return
		}
		if depth > 1 {
			st.cut(disk.killed, depth-1)
			st.cut(disk.left, depth-1)
		} else {
			st.start(disk.killed, "killed")
			st.start(disk.left, "cut")
		}
	}
}

// start starts on a disk, and accepts a message.
func (st *started) start(files vfs.FS, what string) {
	st.count++
	s, err := embedded.Open("queue", embedded.Options{FS: files, Clock: mail.NewManualClock(noon)})
	if err != nil {
		st.t.Errorf("%s: %v", what, err)
		return
	}
	if !st.fresh {
		for _, id := range []mail.ID{smallID, largeID} {
			if content, err := readBody(s, id); err != nil || string(content) != string(contentOf(id)) {
				st.t.Errorf("%s: %s: %d octets, %v", what, id, len(content), err)
			}
		}
	}
	_ = submit(st.t.Context(), s, entryTo(otherID, "one.example")) // unless it is there
	if err := s.Close(); err != nil {
		st.t.Errorf("%s: close: %v", what, err)
	}
}

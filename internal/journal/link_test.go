package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/mail"
)

// TestLink: what was synced stays under the names of Link, although the
// journal goes on and is pruned; the file that is written to is told by its
// length then.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile, o.Limits.Keep = 2000, 2
	j := mustOpen(t, dir, o)
	write := func(from, to int) {
		for n := from; n < to; n++ {
			j.Record(mail.Fact{Reason: mail.ReasonRefused, Text: fmt.Sprint(n)})
			if err := j.submit(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 30)
	before := names(t, dir, Query{})
	files, err := j.Link()
	if err != nil || len(files) < 2 {
		t.Fatalf("%+v, %v", files, err)
	}
	write(30, 90) // the first files are pruned
	copied := t.TempDir()
	for i, f := range files {
		data, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if last := i == len(files)-1; f.Fixed == last || f.Fixed && int64(len(data)) != f.Size {
			t.Errorf("%+v of %d files, with %d octets", f, len(files), len(data))
		}
		if err := os.WriteFile(filepath.Join(copied, f.Name), data[:f.Size], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(t, names(t, copied, Query{}), before)
	if err := j.Unlink(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Link(); err != nil { // and it is left behind
		t.Fatal(err)
	}
	mustClose(t, j)
	mustOpen(t, dir, o)
	if _, err := os.Stat(filepath.Join(dir, snapshotName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a start: %v", err)
	}
}

// TestFiles: the files of a journal are handed out while nobody has it.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if files, lock, err := Files(dir); err != nil || len(files) > 0 || lock.Close() != nil {
		t.Errorf("no journal: %+v, %v", files, err)
	}
	j := mustOpen(t, dir, options())
	if _, _, err := Files(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a journal that is open: %v", err)
	}
	mustClose(t, j)
	files, lock, err := Files(dir)
	if err != nil || len(files) != 1 || files[0].Fixed || files[0].Size == 0 {
		t.Fatalf("%+v, %v", files, err)
	}
	if _, err := Open(dir, options()); !errors.Is(err, ErrInUse) {
		t.Errorf("opened meanwhile: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

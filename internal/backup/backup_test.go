package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mailtest"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// source is a store of two files, one of which is still being written, and what lies beside it.
func source(t *testing.T) []File {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "fixed"), "table")
	write(t, filepath.Join(dir, "active"), "log and what came later")
	write(t, filepath.Join(dir, "records"), "records")
	write(t, filepath.Join(dir, "secret"), "secret")
	return []File{
		{Name: "queue/db/1.sst", Path: filepath.Join(dir, "fixed"), Size: 5, Fixed: true},
		{Name: "journal/1.jsonl", Path: filepath.Join(dir, "active"), Size: 3},
		{Name: "directory/directory.db", Path: filepath.Join(dir, "records"), Size: 7, Fixed: true},
		{Name: "keys/deep/a.pem", Path: filepath.Join(dir, "secret"), Size: 6},
		{Name: "a.key", Path: filepath.Join(dir, "secret"), Size: 6},
	}
}

// allParts are those of source.
var allParts = []string{"a.key", "keys", "directory", "journal", "queue"}

func write(t *testing.T, path, text string) {
	t.Helper()
	mailtest.Must(t, os.WriteFile(path, []byte(text), 0o600))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	mailtest.Must(t, err)
	return string(data)
}

func fine(string) (int, error) { return 0, nil }

// made makes a backup.
func made(t *testing.T, files []File) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "backup")
	_, err := Write(t.Context(), dir, Manifest{Made: noon, Host: "gate", Files: files}, fine, func(int64) {})
	mailtest.Must(t, err)
	return dir
}

// TestWrite: what does not change is linked, what does is copied, as much of
// it as belongs to the backup.
func TestWrite(t *testing.T) {
	files := source(t)
	dir := filepath.Join(t.TempDir(), "backup")
	total := int64(0)
	_, err := Write(t.Context(), dir, Manifest{Made: noon, Files: files}, func(partly string) (int, error) {
		if partly == dir {
			t.Error("it is checked under its final name")
		}
		return 2, nil
	}, func(n int64) { total += n })
	if err != nil || total != 27 {
		t.Fatalf("%v; %d octets", err, total)
	}
	m, err := Open(dir)
	if err != nil || m.Flaws != 2 || !m.Made.Equal(noon) || len(m.Files) != 5 || m.Octets() != 27 {
		t.Errorf("%+v, %v", m, err)
	}
	if got := read(t, filepath.Join(dir, "journal", "1.jsonl")); got != "log" {
		t.Errorf("the file that was being written: %q", got)
	}
	linked, err := os.Stat(filepath.Join(dir, "queue", "db", "1.sst"))
	mailtest.Must(t, err)
	original, err := os.Stat(files[0].Path)
	mailtest.Must(t, err)
	if !os.SameFile(linked, original) {
		t.Error("a file that does not change was copied")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 6 {
		t.Errorf("in it are %v, %v", names, err)
	}
}

// TestWriteFails: what fails leaves nothing, and what is there is left alone.
func TestWriteFails(t *testing.T) {
	files := source(t)
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		there string // of the directory, before
		files []File
		check func(string) (int, error)
		want  string
		left  bool
	}{
		{name: "check", files: files, check: func(string) (int, error) { return 0, broken }, want: "broken"},
		{name: "missing", files: []File{{Name: "queue/x", Path: "/nonexistent"}}, check: fine, want: "no such file"},
		{name: "short", files: []File{{Name: "queue/x", Path: files[1].Path, Size: 100}}, check: fine, want: "it has 23 octets, not 100"},
		{name: "there", there: "backup", files: files, check: fine, want: "exists already; name a directory that does not", left: true},
		{name: "foreign", there: "backup.partial/mine", files: files, check: fine, want: "is no backup that was cut short", left: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			if c.there != "" {
				mailtest.Must(t, os.MkdirAll(filepath.Join(parent, c.there), 0o700))
			}
			_, err := Write(t.Context(), filepath.Join(parent, "backup"), Manifest{Files: c.files}, c.check, func(int64) {})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %q", err, c.want)
			}
			if names, err := os.ReadDir(parent); err != nil || c.left != (len(names) > 0) {
				t.Errorf("left are %v, %v", names, err)
			}
		})
	}
}

// TestCutShort: what a backup that was killed has left goes with the next.
func TestCutShort(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "backup")
	mailtest.Must(t, prepare(dir+partial))
	write(t, filepath.Join(dir+partial, "stale"), "x")
	_, err := Write(t.Context(), dir, Manifest{Files: source(t)}, fine, func(int64) {})
	mailtest.Must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "stale")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left is in the backup: %v", err)
	}
}

// TestOpenRefuses: a backup that is not whole is none.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ name, manifest, want string }{
		{"none", "", "is no backup: it has no backup.json"},
		{"newer", `{"postern_backup": 2}`, "postern_backup: format 2; this program knows format 1"},
		{"outside", `{"postern_backup": 1, "files": [{"name": "../x", "size": 0}]}`, `"../x" is not within the backup`},
		{"absolute", `{"postern_backup": 1, "files": [{"name": "/etc/passwd", "size": 0}]}`, "is not within the backup"},
		{"missing", `{"postern_backup": 1, "files": [{"name": "x", "size": 0}]}`, "no such file"},
		{"short", `{"postern_backup": 1, "files": [{"name": "backup.json", "size": 5000}]}`, "backup.json says 5000"},
	} {
		dir := t.TempDir()
		if c.manifest != "" {
			write(t, filepath.Join(dir, manifestName), c.manifest)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: it says %v, want %q", c.name, err, c.want)
		}
	}
}

// restoreTo restores, and counts how often it was made ready.
func restoreTo(t *testing.T, from, dataDir string) (ready int, err error) {
	t.Helper()
	check := func(dir string, m Manifest) error {
		ready++
		if got := read(t, filepath.Join(dir, "queue", "db", "1.sst")); got != "table" || !m.Made.Equal(noon) {
			t.Errorf("to be made ready: %q, %+v", got, m)
		}
		return nil
	}
	_, err = Restore(t.Context(), from, Into{DataDir: dataDir, Ready: check, Progress: func(int64) {}})
	return ready, err
}

// TestRestore: the copy shares nothing with the backup, and there is nothing
// else afterwards. It never goes over a store.
func TestRestore(t *testing.T) {
	from := made(t, source(t))
	dataDir := filepath.Join(t.TempDir(), "data")
	if ready, err := restoreTo(t, from, dataDir); err != nil || ready != 1 {
		t.Fatalf("%v, ready %d times", err, ready)
	}
	write(t, filepath.Join(dataDir, "queue", "db", "1.sst"), "other")
	if got := read(t, filepath.Join(from, "queue", "db", "1.sst")); got != "table" {
		t.Errorf("in the backup there is %q then", got)
	}
	if names, err := os.ReadDir(dataDir); err != nil || len(names) != len(allParts) {
		t.Errorf("in data_dir are %v, %v", names, err)
	}
	for _, part := range allParts {
		mailtest.Must(t, os.RemoveAll(dataDir))
		mailtest.Must(t, os.MkdirAll(filepath.Join(dataDir, part), 0o700))
		if ready, err := restoreTo(t, from, dataDir); err == nil || ready > 0 || !strings.Contains(err.Error(), "has a "+part+" already; a restore never goes over one") {
			t.Errorf("over a %s: %v", part, err)
		}
	}
}

// TestRestoreByRoot: what root restores is the data directory's owner's.
func TestRestoreByRoot(t *testing.T) {
	owner := os.Geteuid()
	dataDir := t.TempDir()
	if owner == 0 {
		owner = 12345
		mailtest.Must(t, os.Chown(dataDir, owner, owner))
	}
	_, err := restoreTo(t, made(t, source(t)), dataDir)
	mailtest.Must(t, err)
	mailtest.Must(t, filepath.WalkDir(dataDir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		mailtest.Must(t, err)
		if got := int(info.Sys().(*syscall.Stat_t).Uid); got != owner {
			t.Errorf("%s is of user %d, want %d", path, got, owner)
		}
		return nil
	}))
}

// TestRestoreFails: one that fails leaves the data directory as it was.
func TestRestoreFails(t *testing.T) {
	from, dataDir := made(t, source(t)), t.TempDir()
	broken := errors.New("broken")
	_, err := Restore(t.Context(), from, Into{DataDir: dataDir, Ready: func(string, Manifest) error { return broken }, Progress: func(int64) {}})
	if !errors.Is(err, broken) {
		t.Errorf("it says %v", err)
	}
	_, err = Restore(t.Context(), from, Into{DataDir: dataDir, Reserve: 1 << 60, Ready: func(string, Manifest) error { return nil }, Progress: func(int64) {}})
	if err == nil || !strings.Contains(err.Error(), "and it takes ") {
		t.Errorf("without room it says %v", err)
	}
	if names, err := os.ReadDir(dataDir); err != nil || len(names) > 0 {
		t.Errorf("left are %v, %v", names, err)
	}
}

// TestRestoreCutShort: one that was killed goes on; between the names of its
// parts too. Another that is under way is told.
func TestRestoreCutShort(t *testing.T) {
	from := made(t, source(t))
	for moved := -1; moved <= len(allParts)+1; moved++ {
		t.Run(fmt.Sprint(moved), func(t *testing.T) {
			dataDir := t.TempDir()
			dir := filepath.Join(dataDir, Restoring)
			mailtest.Must(t, os.Mkdir(dir, 0o700))
			write(t, filepath.Join(dir, "stale"), "x")
			wantReady := 1
			if moved >= 0 { // it was made ready, and some have their names
				m, err := Open(from)
				mailtest.Must(t, err)
				mailtest.Must(t, Copy(t.Context(), dir, m.Files, None, func(int64) {}))
				mailtest.Must(t, os.Remove(filepath.Join(dir, "stale")))
				mailtest.Must(t, m.write(dir))
				for _, part := range allParts[:min(moved, len(allParts))] {
					mailtest.Must(t, os.Rename(filepath.Join(dir, part), filepath.Join(dataDir, part)))
				}
				if moved > len(allParts) {
					mailtest.Must(t, os.Remove(filepath.Join(dir, manifestName)))
				}
				wantReady = 0
			}
			lock, err := os.Open(dir)
			mailtest.Must(t, err)
			mailtest.Must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
			if _, err := restoreTo(t, from, dataDir); err == nil || !strings.Contains(err.Error(), "another restore is under way") {
				t.Errorf("beside another: %v", err)
			}
			mailtest.Must(t, lock.Close())
			if ready, err := restoreTo(t, from, dataDir); err != nil || ready != wantReady {
				t.Errorf("%v, made ready %d times", err, ready)
			}
			for name, want := range map[string]string{"queue/db/1.sst": "table", "keys/deep/a.pem": "secret", "a.key": "secret"} {
				if got := read(t, filepath.Join(dataDir, name)); got != want {
					t.Errorf("restored: %s is %q", name, got)
				}
			}
			if names, err := os.ReadDir(dataDir); err != nil || len(names) != len(allParts) {
				t.Errorf("in data_dir are %v, %v", names, err)
			}
		})
	}
}

// TestRestoreOfAnother: what one backup has made ready is not finished by
// another.
func TestRestoreOfAnother(t *testing.T) {
	from, dataDir := made(t, source(t)), t.TempDir()
	dir := filepath.Join(dataDir, Restoring)
	mailtest.Must(t, os.Mkdir(dir, 0o700))
	other := Manifest{Version: version, Made: noon.Add(time.Hour)}
	mailtest.Must(t, other.write(dir))
	if _, err := restoreTo(t, from, dataDir); err == nil || !strings.Contains(err.Error(), "a restore of another backup, of 2026-03-02") {
		t.Errorf("it says %v", err)
	}
}

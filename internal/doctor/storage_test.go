package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
)

// listing returns problems in lines, without the directory of the test.
func listing(dir string, problems []config.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(strings.ReplaceAll(p.String(), dir, "DIR") + "\n")
	}
	return b.String()
}

func TestStorage(t *testing.T) {
	const plenty = 1 << 40
	for name, c := range map[string]struct {
		data, socket  string // below the directory
		spool         string // likewise, for mail by sendmail
		make          string // directories, by spaces
		files         string
		closed        string // of those, the ones that cannot be written
		mode          fs.FileMode
		danger        string
		free, inodes  int64
		wrong, unwise string
	}{
		"not there yet":      {data: "a/b/data"},
		"there":              {data: "data", make: "data/queue data/journal"},
		"a socket elsewhere": {data: "data", socket: "run/postern/x.sock", make: "data"},
		"a file": {data: "data", files: "data",
			wrong: "c.toml:3:1: data_dir: DIR/data is not a directory (move it away, or choose another path)\n"},
		"below a file": {data: "data/x/y", files: "data",
			wrong: "c.toml:3:1: data_dir: DIR/data is not a directory (move it away, or choose another path)\n"},
		"not ours": {data: "data", make: "data", closed: "data",
			wrong: "c.toml:3:1: data_dir: DIR/data cannot be written: permission denied (run this as the server's user; give the directory to it)\n"},
		"its queue not ours": {data: "data", make: "data/queue data/journal", closed: "data/queue",
			wrong: "c.toml:3:1: data_dir: DIR/data/queue cannot be written: permission denied (run this as the server's user; give the directory to it)\n"},
		"cannot be made": {data: "lib/data", make: "lib", closed: "lib",
			unwise: "c.toml:3:1: data_dir: DIR/lib/data does not exist, and DIR/lib cannot be written: permission denied " +
				"(make it and give it to the server's user, as StateDirectory= and RuntimeDirectory= do in a systemd unit)\n"},
		"nor the socket": {data: "data", socket: "run/x.sock", make: "data run", closed: "run",
			wrong: "admin_socket: DIR/run cannot be written: permission denied (run this as the server's user; give the directory to it)\n"},
		"nor the directory for programs": {data: "data", spool: "spool", files: "spool",
			wrong: "submission.directory: DIR/spool is not a directory (move it away, or choose another path)\n"},
		"in memory": {data: "data", danger: "a file system in memory",
			unwise: "c.toml:3:1: data_dir: DIR/data is on a file system in memory (choose a directory on a local disk)\n"},
		"full": {data: "data", free: 255 << 20,
			unwise: "c.toml:3:1: data_dir: 255 MiB are free for DIR/data: with less than the 256 MiB of pressure.min_free_space no mail is taken (make room, or set pressure.min_free_space to less)\n"},
		"no inodes": {data: "data", inodes: 9999,
			unwise: "c.toml:3:1: data_dir: 9999 inodes are free for DIR/data: with fewer than the 10000 of pressure.min_free_inodes no mail is taken (remove files, or set pressure.min_free_inodes to less)\n"},
		"open to others": {data: "data", make: "data", mode: 0o777,
			unwise: "c.toml:3:1: data_dir: DIR/data has mode 777: others can remove what is in it, all mail included (chmod 700 DIR/data)\n"},
	} {
		dir := t.TempDir()
		for _, d := range strings.Fields(c.make) {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range strings.Fields(c.files) {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		conf := config.Default()
		conf.DataDir = filepath.Join(dir, c.data)
		conf.Places = config.Places{"data_dir": mail.Place{File: "c.toml", Line: 3, Column: 1}}
		if c.socket != "" {
			conf.AdminSocket = filepath.Join(dir, c.socket)
		}
		if c.spool != "" {
			conf.Submission.Directory = filepath.Join(dir, c.spool)
		}
		if c.mode != 0 {
			if err := os.Chmod(conf.DataDir, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		free, inodes := c.free, c.inodes
		if free == 0 {
			free = plenty
		}
		if inodes == 0 {
			inodes = plenty
		}
		s := storage{
			config: conf,
			writable: func(path string) error {
				if c.closed != "" && path == filepath.Join(dir, c.closed) {
					return fs.ErrPermission
				}
				return nil
			},
			danger: func(string) string { return c.danger },
			free:   func(string) (int64, int64, error) { return free, inodes, nil },
		}
		before := tree(t, dir)
		s.look()
		if wrong, unwise := listing(dir, s.wrong), listing(dir, s.unwise); wrong != c.wrong || unwise != c.unwise {
			t.Errorf("%s: wrong %q, unwise %q\nwant %q, %q", name, wrong, unwise, c.wrong, c.unwise)
		}
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: %q became %q", name, before, after)
		}
	}
}

// tree lists all files below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestStorageOfThisMachine asks the system itself.
func TestStorageOfThisMachine(t *testing.T) {
	c := config.Default()
	c.DataDir = t.TempDir()
	if wrong, _ := Storage(c); len(wrong) > 0 {
		t.Errorf("a directory of our own: %v", wrong)
	}
	c.DataDir = filepath.Join(c.DataDir, "none", "data")
	if wrong, _ := Storage(c); len(wrong) > 0 {
		t.Errorf("one that can be made: %v", wrong)
	}
	if err := writable(filepath.Join(c.DataDir, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestMemory(t *testing.T) {
	c := config.Default()
	c.Pressure.MaxMemory = 1 << 60
	if got := Memory(c); len(got) != 1 || !strings.HasPrefix(got[0].String(), "pressure.max_memory: this machine, or the control group, has ") {
		t.Errorf("more than any machine has: %v", got)
	}
	c.Pressure.MaxMemory = 256 << 20
	if got := Memory(c); len(got) != 0 {
		t.Errorf("little: %v", got)
	}
}

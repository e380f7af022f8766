package running

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user that every machine has.
const nobody = "nobody"

// commonDir is a directory that every user can enter.
func commonDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// privilegedPort finds a port that only root can have, and nobody has.
func privilegedPort(t *testing.T) string {
	t.Helper()
	for port := 1023; port > 900; port-- {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port below 1024 is free")
	return ""
}

// TestLeavesRoot: it has what only root can have, and is root's in nothing.
func TestLeavesRoot(t *testing.T) {
	needRoot(t)
	account, err := user.Lookup(nobody)
	if err != nil {
		t.Fatal(err)
	}
	dir := commonDir(t)
	address, data := privilegedPort(t), filepath.Join(dir, "data")
	file := write(t, dir, configuration(address, data))
	server := launch(t, exec.Command(binary(t), "serve", "--user", nobody, "--config", file))
	server.greeted(address)

	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", server.command.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		for _, want := range []string{
			"Uid:\t" + strings.Repeat(account.Uid+"\t", 3) + account.Uid + "\n",
			"Gid:\t" + strings.Repeat(account.Gid+"\t", 3) + account.Gid + "\n",
			"CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n",
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have %q:\n%s", task, want, text)
			}
		}
		for _, groups := range strings.SplitAfter(string(text), "\n") {
			if list, is := strings.CutPrefix(groups, "Groups:"); is && strings.Contains(" "+strings.TrimSpace(list)+" ", " 0 ") {
				t.Errorf("%s is in root's group: %s", task, groups)
			}
		}
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // the server has removed it meanwhile
		} else if err != nil {
			return err
		}
		files++
		if got := info.Sys().(*syscall.Stat_t).Uid; got != uint32(uid) || path == data && info.Mode().Perm() != 0o700 {
			t.Errorf("%s belongs to user %d, mode %v", path, got, info.Mode())
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("data_dir has %d files, %v", files, err)
	}
	server.end()
}

// fails runs a server that must not start, and returns what it says.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary(t), append([]string{"serve"}, args...)...).CombinedOutput()
	if code := new(exec.ExitError); !errors.As(err, &code) || code.ExitCode() != 1 {
		t.Errorf("serve %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestStaysNotRoot(t *testing.T) {
	needRoot(t)
	dir := commonDir(t)
	data := filepath.Join(dir, "data")
	file := write(t, dir, configuration("127.0.0.1:0", data))
	for _, c := range []struct{ user, want string }{
		{"", "postern: refuses to run as root: name the user to become with --user, such as --user postern (or --user root, if it must be)\n"},
		{"no-such-user", "postern: --user no-such-user: the machine has no such user\n"},
	} {
		if got := fails(t, "--config", file, "--user", c.user); got != c.want {
			t.Errorf("as %q it says %s", c.user, got)
		}
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data_dir was made: %v", err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("postern: %s:3:1: data_dir: belongs to another user than nobody; give it with all that is in it: chown -R nobody: %s\n", file, data)
	if got := fails(t, "--config", file, "--user", nobody); got != want {
		t.Errorf("with root's data_dir it says %swant %s", got, want)
	}
}

// TestOnlyRootBecomesAnother starts it as nobody.
func TestOnlyRootBecomesAnother(t *testing.T) {
	needRoot(t)
	dir := commonDir(t)
	file := write(t, dir, configuration("127.0.0.1:0", filepath.Join(dir, "data")))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary(t), "serve", "--user", "daemon", "--config", file)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err == nil || string(out) != "postern: --user daemon: only root can become another user\n" {
		t.Errorf("%v: %s", err, out)
	}
}

package harness

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// BuildPostern puts the binary into dir, built with build tags if there are any, and
// returns its path. To link it takes seconds, which each test would wait for. So what was
// linked is kept in the user's cache, where the next "go build" sees whether it is still
// what it would make (the build ID tells), and dir gets a hard link or a copy of it.
//
// Errors: the program does not compile, or there is no room.
func BuildPostern(ctx context.Context, dir string, tags ...string) (string, error) {
	name := strings.Join(append([]string{"postern"}, tags...), "-")
	kept, err := keptBinaries()
	if err != nil {
		return "", err
	}
	lock, err := lockDir(kept)
	if err != nil {
		return "", err
	}
	defer lock.Close() // which gives the lock back
	source, target := filepath.Join(kept, name), filepath.Join(dir, name)
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", strings.Join(tags, ","), "-o", source, "postern/cmd/postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building postern: %w\n%s", err, out)
	}
	return target, linkOrCopy(source, target)
}

// keptBinaries is where binaries of this tree are kept, by the path of its module: two
// trees would build theirs by turns.
func keptBinaries() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(root)
		if up == root {
			return "", errors.New("no go.mod above the working directory: tests run in the tree")
		}
		root = up
	}
	dir := filepath.Join(cache, "postern-tests", fmt.Sprintf("%.8x", sha256.Sum256([]byte(root))))
	return dir, os.MkdirAll(dir, 0o700)
}

// lockDir waits until no other test builds into a directory. The lock ends with the file,
// and so with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// linkOrCopy gives target what source is now: "go build" replaces a file and never writes
// into one. Where they lie on two file systems there is no link.
func linkOrCopy(source, target string) error {
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(source, target) == nil {
		return nil
	}
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// RunWithBinary builds the program once for all tests of a package, sets binary to its path, and
// runs them. It returns what the process is to exit with.
func RunWithBinary(tests interface{ Run() int }, binary *string) int {
	dir, err := os.MkdirTemp("", "postern-binary-")
	if err == nil {
		defer os.RemoveAll(dir)
		*binary, err = BuildPostern(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return tests.Run()
}

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"postern/internal/config"
)

// rootName is the user who must be named for the server to run as root.
const rootName = "root"

var errRoot = errors.New(`refuses to run as root: name the user to become with --user, such as --user postern (or --user root, if it must be)`)

// BecomeUser makes the process that of a user, for good, when it is root's. What
// only root can do is done before: the listeners' sockets are bound, and data_dir
// and submission.directory are made for the user. All that is read later, such as keys and secrets, is read
// by the user.
//
// Without a name root is refused; the name root keeps it. Another user than root
// can name only itself. It fails, too, when data_dir belongs to somebody else.
func (s Sockets) BecomeUser(c *config.Config, name string) error {
	isRoot := os.Geteuid() == 0
	switch {
	case name == "" && isRoot:
		return errRoot
	case name == "", name == rootName && isRoot:
		return nil
	}
	account, err := lookUp(name)
	switch {
	case err != nil:
		return fmt.Errorf("--user %s: %w", name, err)
	case !isRoot && account.uid == os.Geteuid():
		return nil
	case !isRoot:
		return fmt.Errorf("--user %s: only root can become another user", name)
	}
	if err := errors.Join(giveDataDir(c, account), giveSubmission(c, account)); err != nil {
		return err
	}
	if err := s.bind(c); err != nil {
		return err
	}
	if err := account.become(); err != nil {
		return errors.Join(fmt.Errorf("--user %s: %w", name, err), s.Close())
	}
	return nil
}

// account is a user of the machine.
type account struct {
	name     string
	uid, gid int
	groups   []int
}

func lookUp(name string) (account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return account{}, errors.New("the machine has no such user")
	}
	ids, err := found.GroupIds()
	if err != nil {
		return account{}, err
	}
	a := account{name: name}
	numbers := []*int{&a.uid, &a.gid}
	for i, text := range append([]string{found.Uid, found.Gid}, ids...) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return account{}, err
		}
		if i < len(numbers) {
			*numbers[i] = n
		} else {
			a.groups = append(a.groups, n)
		}
	}
	return a, nil
}

// become changes user and groups, of all threads, and makes sure that there is no
// way back.
func (a account) become() error {
	if err := errors.Join(syscall.Setgroups(a.groups), syscall.Setgid(a.gid), syscall.Setuid(a.uid)); err != nil {
		return fmt.Errorf("cannot become that user: %w", err)
	}
	if a.uid != 0 && syscall.Setuid(0) == nil {
		return errors.New("became root again")
	}
	return nil
}

// giveDataDir makes data_dir for a user, if it is not there.
func giveDataDir(c *config.Config, a account) error {
	info, err := os.Stat(c.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = a.makeDirectory(c.DataDir, 0o700)
	case err != nil:
	case owner(info) != a.uid:
		err = fmt.Errorf("belongs to another user than %s; give it with all that is in it: chown -R %[1]s: %s", a.name, c.DataDir)
	}
	if err != nil {
		return c.Wrong("data_dir", err)
	}
	return nil
}

// giveSubmission makes submission.directory for a user, if it is not there. What
// is in it, the server makes.
func giveSubmission(c *config.Config, a account) error {
	dir := c.Submission.Directory
	if dir == "" {
		return nil
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil // what is wrong with it is found when it is used
	}
	if err := a.makeDirectory(dir, 0o755); err != nil {
		return c.Wrong("submission.directory", err)
	}
	return nil
}

// makeDirectory makes a directory that belongs to the user, with that mode.
func (a account) makeDirectory(path string, mode fs.FileMode) error {
	return errors.Join(os.MkdirAll(path, mode), os.Chmod(path, mode), os.Chown(path, a.uid, a.gid))
}

func owner(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/pressure"
)

// Storage looks at the directories in which the server keeps mail, and makes
// its socket. wrong is what would keep this user from starting it.
func Storage(c *config.Config) (wrong, unwise []config.Problem) {
	s := storage{config: c, writable: writable, danger: dangerOf, free: pressure.Free}
	s.look()
	return s.wrong, s.unwise
}

// storage looks at the directories of a configuration.
type storage struct {
	config *config.Config
	// What the system tells of a directory: whether this user can change it,
	// why it does not keep mail, and what is free there.
	writable func(path string) error
	danger   func(path string) string
	free     func(path string) (octets, inodes int64, err error)

	wrong, unwise []config.Problem
}

func (s *storage) look() {
	c := s.config
	if s.directory("data_dir", c.DataDir) {
		s.volume()
		s.openToOthers()
		for _, part := range []string{"queue", "journal"} {
			s.directory("data_dir", filepath.Join(c.DataDir, part))
		}
	}
	if at := filepath.Dir(c.Socket()); at != filepath.Clean(c.DataDir) {
		s.directory("admin_socket", at)
	}
	if c.Submission.Directory != "" {
		s.directory("submission.directory", c.Submission.Directory)
	}
}

func (s *storage) isWrong(key, message, hint string) {
	s.wrong = append(s.wrong, s.config.Problem(key, message, hint))
}

func (s *storage) isUnwise(key, message, hint string) {
	s.unwise = append(s.unwise, s.config.Problem(key, message, hint))
}

// directory looks whether the server can use a directory, or make it. It
// reports false if there is nothing more to look at.
func (s *storage) directory(key, path string) bool {
	at, info, err := nearest(path)
	switch {
	case err != nil:
		s.isWrong(key, fmt.Sprintf("%s cannot be looked at: %v", path, err), "run this as the server's user")
		return false
	case !info.IsDir():
		s.isWrong(key, at+" is not a directory", "move it away, or choose another path")
		return false
	}
	err = s.writable(at)
	switch {
	case err == nil:
		return true
	case at == filepath.Clean(path):
		s.isWrong(key, fmt.Sprintf("%s cannot be written: %v", path, err), "run this as the server's user; give the directory to it")
	default:
		s.isUnwise(key, fmt.Sprintf("%s does not exist, and %s cannot be written: %v", path, at, err),
			"make it and give it to the server's user, as StateDirectory= and RuntimeDirectory= do in a systemd unit")
	}
	return false
}

// nearest returns the longest part of a path that exists.
func nearest(path string) (string, os.FileInfo, error) {
	path = filepath.Clean(path)
	for {
		info, err := os.Stat(path)
		if err == nil || filepath.Dir(path) == path {
			return path, info, withoutPath(err)
		}
		if notDir := errors.Is(err, errNotDirectory); !notDir && !errors.Is(err, fs.ErrNotExist) {
			return path, nil, withoutPath(err)
		}
		path = filepath.Dir(path)
	}
}

// withoutPath takes the path off an error that is told with it.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// volume looks at the file system that mail will lie on. What it does not tell
// is not known to the server either.
func (s *storage) volume() {
	at, _, err := nearest(s.config.DataDir)
	if err != nil {
		return
	}
	if danger := s.danger(at); danger != "" {
		s.isUnwise("data_dir", fmt.Sprintf("%s is on %s", s.config.DataDir, danger), "choose a directory on a local disk")
	}
	free, inodes, err := s.free(at)
	if err != nil {
		return
	}
	if least := s.config.Pressure.MinFreeSpace; free < least {
		s.isUnwise("data_dir", fmt.Sprintf("%d MiB are free for %s: with less than the %d MiB of pressure.min_free_space no mail is taken", free>>20, s.config.DataDir, least>>20),
			"make room, or set pressure.min_free_space to less")
	}
	if least := int64(s.config.Pressure.MinFreeInodes); inodes < least {
		s.isUnwise("data_dir", fmt.Sprintf("%d inodes are free for %s: with fewer than the %d of pressure.min_free_inodes no mail is taken", inodes, s.config.DataDir, least),
			"remove files, or set pressure.min_free_inodes to less")
	}
}

// openToOthers looks whether others can put something in the place of mail.
func (s *storage) openToOthers() {
	info, err := os.Stat(s.config.DataDir)
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		s.isUnwise("data_dir", fmt.Sprintf("%s has mode %o: others can remove what is in it, all mail included", s.config.DataDir, info.Mode().Perm()), "chmod 700 "+s.config.DataDir)
	}
}

// Memory looks whether the machine has the memory that the server may take.
func Memory(c *config.Config) []config.Problem {
	there := 2 * pressure.DefaultBudget() // which is half of it
	if c.Pressure.MaxMemory <= there {
		return nil
	}
	return []config.Problem{c.Problem("pressure.max_memory",
		fmt.Sprintf("this machine, or the control group, has %d MiB: the system ends the server when it takes more", there>>20), "set about half of that")}
}

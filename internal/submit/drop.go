package submit

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The modes of the directories and of a dropped file. Into the drop directory
// everybody may put files, which then have its group, the server's; nobody may
// see what is there, nor touch what is another's (the sticky bit).
const (
	modeDirectory = 0o755
	modeDrop      = 0o733 | fs.ModeSetgid | fs.ModeSticky
	modeTaken     = 0o700
	modeWriting   = 0o600
	modeWhole     = 0o640 // the owner, and the server
)

// leave puts a message into the drop directory. When it returns nil, the
// message is on stable storage. why is what kept the server from taking it.
//
// It fails with an *Error that names both.
func (d Directory) leave(p *posting, why error) error {
	s, err := slipOf(p)
	if err != nil {
		return err
	}
	name := rand.Text()
	temporary := filepath.Join(d.drop(), writing+name)
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeWriting)
	if err != nil {
		return d.cannotLeave(err, why)
	}
	defer f.Close()
	err = writeDropped(f, s, p.content.raw())
	if err == nil {
		err = os.Rename(temporary, filepath.Join(d.drop(), whole+name))
	}
	if err != nil {
		return d.cannotLeave(errors.Join(err, os.Remove(temporary)), why)
	}
	// The directory cannot be opened by its users, so that it cannot be synced
	// by itself.
	if err := syncAll(f.Fd()); err != nil {
		return d.cannotLeave(errors.Join(err, os.Remove(filepath.Join(d.drop(), whole+name))), why)
	}
	return nil
}

// writeDropped writes and syncs a file.
func writeDropped(f *os.File, s *slip, content io.Reader) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	bw := bufio.NewWriterSize(f, 64<<10)
	bw.Write(line)
	bw.WriteByte('\n')
	if _, err := io.Copy(bw, content); err != nil {
		return err
	}
	return errors.Join(bw.Flush(), f.Chmod(modeWhole), f.Sync())
}

// cannotLeave is the error of a message that neither the server nor the drop
// directory took.
func (d Directory) cannotLeave(err, why error) error {
	code, hint := IOErr, ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code, hint = Unavailable, fmt.Sprintf("; a server takes mail at %s when submission.directory in its configuration says so", d)
	case errors.Is(err, fs.ErrPermission):
		code = CantCreate
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = TempFail
	}
	return failf(code, "%w\nand the message cannot be left for it: %w%s", why, err, hint)
}

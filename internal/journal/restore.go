package journal

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"postern/internal/crashpoint"
	"postern/internal/mail"
)

// restore finds out what the journal has, and makes the last file ready for
// more lines.
func (j *Journal) restore() error {
	j.ledger = newLedger()
	list, err := segments(j.dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		err = j.rotate()
	} else {
		err = j.restoreFrom(list)
	}
	j.end = position{j.number, j.size}
	return err
}

func (j *Journal) restoreFrom(list []segment) error {
	size, err := j.rereadAll(list)
	if err != nil {
		return err
	}
	last := list[len(list)-1]
	if size > 0 {
		return j.reopen(last, size)
	}
	// A crash came before the header was complete: there is no fact in it.
	if err := crashpoint.Remove(j.path(last)); err != nil {
		return err
	}
	j.number = last.number
	return j.rotate()
}

// rereadAll enters the files in the ledger, from the last header on: it says
// what came before. It returns the size up to which the last file is good.
func (j *Journal) rereadAll(list []segment) (size int64, err error) {
	first, err := j.lastHeader(list)
	if err != nil {
		return 0, err
	}
	for i := first; i < len(list); i++ {
		if size, err = j.reread(list[i], i == len(list)-1); err != nil {
			return 0, err
		}
	}
	j.ledger.settle()
	return size, nil
}

// Mark returns the number of the last fact of a source that the journal in a
// directory has, 0 if there is none. Nobody may have the journal open.
func Mark(dir, source string) (uint64, error) {
	j := &Journal{options: Options{}.withDefaults(), dir: dir, ledger: newLedger()}
	list, err := segments(dir)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if _, err := j.rereadAll(list); err != nil {
		return 0, err
	}
	return j.ledger.marks[source], nil
}

func (j *Journal) path(s segment) string { return filepath.Join(j.dir, s.name()) }

// lastHeader returns the index of the last file whose header can be read: of
// the last file, unless that is damaged or a crash left it without one.
func (j *Journal) lastHeader(list []segment) (int, error) {
	for i := len(list) - 1; i > 0; i-- {
		line, err := firstLine(j.path(list[i]))
		if err == nil {
			_, err = parseHeader(line)
		}
		if errors.Is(err, errVersion) {
			return 0, &os.PathError{Op: "read", Path: j.path(list[i]), Err: err}
		}
		if err == nil {
			return i, nil
		}
	}
	return 0, nil
}

func firstLine(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return newLines(f).next()
}

// damagedLine is a line that cannot be read.
type damagedLine struct {
	number int
	start  int64
	cause  error
}

// reread enters a file in the ledger. It returns the size up to which the
// file is good. In the last file that leaves out a last line that is
// incomplete or damaged, as a crash during a write leaves it.
func (j *Journal) reread(s segment, last bool) (int64, error) {
	f, err := os.Open(j.path(s))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	l := newLines(f)
	var damaged *damagedLine // the line before, if it is
	for {
		start := l.offset
		line, err := l.next()
		if err == io.EOF {
			break
		}
		if damaged != nil {
			j.noteDamage(s, damaged)
			damaged = nil
		}
		if err == nil {
			err = j.enter(l.number, line)
		}
		switch {
		case err == nil:
		case errors.Is(err, errVersion) || !isDamage(err):
			return 0, &os.PathError{Op: "read", Path: j.path(s), Err: err}
		default:
			damaged = &damagedLine{number: l.number, start: start, cause: err}
		}
	}
	if damaged == nil {
		return l.offset, nil
	}
	if last {
		return damaged.start, nil
	}
	j.noteDamage(s, damaged)
	return l.offset, nil
}

func (j *Journal) noteDamage(s segment, d *damagedLine) {
	j.ledger.damage++
	j.options.Logger.Warn("damaged line in the journal", "file", j.path(s), "line", d.number, "error", d.cause)
}

// enter enters one line in the ledger. Only what names a fact is read: there
// may be many lines, and the server waits.
func (j *Journal) enter(number int, line []byte) error {
	if number == 1 {
		h, err := parseHeader(line)
		if err != nil {
			return err
		}
		j.ledger.raise(h.Marks)
		j.header = int64(len(line)) + 1
		return nil
	}
	var name struct {
		Source string      `json:"source"`
		N      uint64      `json:"n"`
		Reason mail.Reason `json:"reason"`
	}
	if err := json.Unmarshal(line, &name); err != nil {
		return &lineError{err}
	}
	if err := checkFact(name.Source, name.N, name.Reason); err != nil {
		return err
	}
	j.ledger.add(name.Source, name.N)
	return nil
}

// reopen opens the last file to append to it, cut to size. What stands in it
// is synced first: it was read from memory, and sources will forget it.
func (j *Journal) reopen(s segment, size int64) error {
	f, err := crashpoint.OpenFile(j.path(s), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > size {
		j.options.Logger.Warn("an incomplete last line was cut off the journal",
			"file", f.Name(), "offset", size, "octets", info.Size()-size)
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return err
	}
	j.file, j.number, j.size = f, s.number, size
	return nil
}

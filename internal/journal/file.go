package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
)

// formatVersion is the version of the file format that this program writes
// and reads.
const formatVersion = 1

// maxLine is the length in octets of the longest line. A fact of a message
// with 10,000 recipients fits.
const maxLine = 4 << 20

// maxNumber is larger than any number that is reached by counting: a larger
// one is damage, and counting on from it would run over.
const maxNumber = 1 << 62

// file is what the writer needs of an *os.File.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
	Name() string
}

// createFile creates a file that must not exist yet.
func createFile(path string) (file, error) {
	f, err := crashpoint.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// header is the first line of a file.
type header struct {
	Journal int               `json:"journal"` // the format's version
	Time    time.Time         `json:"time"`
	Marks   map[string]uint64 `json:"marks"`
}

// errVersion says that a file is of a format this program does not know.
var errVersion = errors.New("unknown format version")

func parseHeader(line []byte) (header, error) {
	var h header
	if err := json.Unmarshal(line, &h); err != nil {
		return h, &lineError{fmt.Errorf("header: %w", err)}
	}
	if h.Journal == 0 {
		return h, errNotHeader
	}
	for _, n := range h.Marks {
		if n > maxNumber {
			return h, errNumber
		}
	}
	if h.Journal != formatVersion {
		return h, fmt.Errorf("%w %d: this program reads version %d", errVersion, h.Journal, formatVersion)
	}
	return h, nil
}

// segment names one file of a journal. Files are ordered by number; the time
// of their beginning, in whole seconds, is for people and to skip old files.
type segment struct {
	number  uint64
	started time.Time
}

const (
	namePrefix = "journal-"
	nameSuffix = ".jsonl"
	nameTime   = "20060102T150405Z"
)

// name returns the file name: journal-0000000012-20260102T150405Z.jsonl.
func (s segment) name() string {
	return fmt.Sprintf("%s%010d-%s%s", namePrefix, s.number, s.started.UTC().Format(nameTime), nameSuffix)
}

func parseName(name string) (segment, bool) {
	rest, isJournal := strings.CutPrefix(name, namePrefix)
	rest, isLines := strings.CutSuffix(rest, nameSuffix)
	digits, stamp, found := strings.Cut(rest, "-")
	if !isJournal || !isLines || !found {
		return segment{}, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || number == 0 {
		return segment{}, false
	}
	started, err := time.Parse(nameTime, stamp)
	if err != nil {
		return segment{}, false
	}
	return segment{number: number, started: started}, true
}

// segments lists the files of a journal, oldest first. Names of another form
// are passed over.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, e := range entries {
		if s, ok := parseName(e.Name()); ok {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return list, nil
}

// begin creates a file with its header, durably, and returns its size.
func (j *Journal) begin(s segment, marks map[string]uint64) (file, int64, error) {
	line, err := json.Marshal(header{Journal: formatVersion, Time: s.started.UTC(), Marks: marks})
	if err != nil {
		return nil, 0, err
	}
	line = append(line, '\n')
	path := filepath.Join(j.dir, s.name())
	f, err := j.create(path)
	if err != nil {
		return nil, 0, err
	}
	_, err = f.Write(line)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDirectory(j.dir)
	}
	if err != nil {
		f.Close()
		crashpoint.Remove(path)
		return nil, 0, err
	}
	return f, int64(len(line)), nil
}

// syncDirectory makes the names in a directory durable.
func syncDirectory(dir string) error {
	f, err := crashpoint.OpenFile(dir, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// prune removes the oldest files beyond Limits.Keep.
func (j *Journal) prune() {
	keep := j.limits.Load().Keep
	if keep <= 0 {
		return
	}
	list, err := segments(j.dir)
	for i := 0; err == nil && i < len(list)-keep; i++ {
		if err = crashpoint.Remove(filepath.Join(j.dir, list[i].name())); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		j.options.Logger.Warn("old journal files cannot be removed", "error", err)
	}
}

// appendLine appends a fact as a line. A fact that does not fit in a line, or
// cannot be written at all, keeps what names it and says so in its text.
func appendLine(b []byte, f *mail.Fact) []byte {
	line, err := mail.AppendFact(b, f)
	if length := len(line) - len(b); err == nil && length >= maxLine {
		err = fmt.Errorf("%d octets, the limit is %d", length, maxLine-1)
	}
	if err == nil {
		return append(line, '\n')
	}
	short := mail.Fact{
		Source: f.Source, N: f.N, Reason: f.Reason, Message: f.Message, Session: f.Session, About: f.About,
		Text: fmt.Sprintf("the rest of this fact, with %d recipients, could not be written: %v", len(f.To), err),
	}
	if _, err := f.Time.MarshalJSON(); err == nil {
		short.Time = f.Time
	}
	line, _ = mail.AppendFact(b, &short) // a fact of short strings and numbers can be written
	return append(line, '\n')
}

// parseFact reads a line that is not a header.
func parseFact(line []byte) (mail.Fact, error) {
	var f mail.Fact
	if err := json.Unmarshal(line, &f); err != nil {
		return f, &lineError{err}
	}
	return f, checkFact(f.Source, f.N, f.Reason)
}

func checkFact(source string, n uint64, reason mail.Reason) error {
	if source == "" || n == 0 || reason == "" {
		return errNotFact
	}
	if n > maxNumber {
		return errNumber
	}
	return nil
}

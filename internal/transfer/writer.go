package transfer

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"postern/internal/mail"
	"postern/internal/queue"
)

// writer writes an export. What it has kept is durable after sync.
type writer struct {
	dir      string // its final name
	header   Header
	manifest Manifest
	lock     *os.File // the directory
	sums     *os.File
	hash     hash.Hash        // of SHA256SUMS
	kept     map[mail.ID]bool // about 80 octets each
	unsynced []string         // files
}

func (w *writer) path(name string) string          { return filepath.Join(w.dir+partial, name) }
func (w *writer) entryPath(id mail.ID) string      { return w.path(string(id) + entrySuffix) }
func (w *writer) contentPath(id mail.ID) string    { return w.path(string(id) + mailSuffix) }
func (w *writer) has(id mail.ID) bool              { return w.kept[id] }
func (w *writer) read(id mail.ID) (Message, error) { return readMessage(w.entryPath(id), id) }

// begin begins an export, or goes on with one of the same kind that was cut
// short. It fails when there is something else in its place.
func begin(dir string, h Header) (w *writer, err error) {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("%s exists already; name a directory that does not", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	w = &writer{dir: dir, header: h, hash: sha256.New(), kept: make(map[mail.ID]bool)}
	err = os.Mkdir(w.path(""), 0o700)
	if err == nil {
		err = syncFile(filepath.Dir(dir))
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		err = w.open()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// open takes the directory, and what an earlier run has left in it.
func (w *writer) open() (err error) {
	if w.lock, err = os.Open(w.path("")); err != nil {
		return err
	}
	if err := syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another export is being written there: %w", w.path(""), err)
	}
	if err := w.takeHeader(); err != nil {
		return err
	}
	if w.sums, err = os.OpenFile(w.path(sumsName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	good, err := w.takeSums()
	if err != nil {
		return err
	}
	if err := w.sums.Truncate(good); err != nil {
		return err
	}
	_, err = w.sums.Seek(good, io.SeekStart)
	return err
}

// takeHeader writes the header, or takes that of an export that was cut short.
func (w *writer) takeHeader() error {
	path := w.path(headerName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		names, err := w.lock.Readdirnames(1)
		if len(names) > 0 {
			return fmt.Errorf("%s is there, and %w; remove it, or name another directory", w.path(""), ErrNoExport)
		} else if !errors.Is(err, io.EOF) {
			return err
		}
		return w.replace(headerName, w.header)
	}
	var was Header
	if err == nil {
		err = decode(path, data, &was)
	}
	if err == nil {
		err = was.check(path)
	}
	if err != nil {
		return err
	}
	want := w.header
	want.ID, want.Made = was.ID, was.Made
	if want != was {
		return fmt.Errorf("%s has an export that was cut short, of another kind (host %s, source %s, filter %q); repeat that, or name another directory",
			w.path(""), was.Host, was.Source, was.Filter)
	}
	w.header = was
	return nil
}

// takeSums takes in which messages are kept, and returns up to where
// SHA256SUMS is whole.
func (w *writer) takeSums() (good int64, err error) {
	lines := bufio.NewReader(w.sums)
	for {
		id, text, err := readPair(lines)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return good, nil
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", w.path(sumsName), err)
		}
		m, err := w.read(id)
		if err != nil {
			return 0, err
		}
		w.kept[id] = true
		w.manifest.add(&m.Entry)
		w.hash.Write(text)
		good += int64(len(text))
	}
}

// planned are the messages that an earlier run has begun and not kept.
func (w *writer) planned() ([]mail.ID, error) {
	names, err := w.strays()
	var ids []mail.ID
	for _, name := range names {
		stem, isEntry := strings.CutSuffix(name, entrySuffix)
		if id, err := mail.ParseID(stem); isEntry && err == nil {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// readable are those that are planned, but for what a power cut has torn: they
// were not held yet, and are found in the queue again.
func (w *writer) readable() ([]mail.ID, error) {
	ids, err := w.planned()
	whole := slices.DeleteFunc(ids, func(id mail.ID) bool {
		_, torn := w.read(id)
		if torn != nil {
			err = errors.Join(err, w.drop(id))
		}
		return torn != nil
	})
	return whole, err
}

// strays are the names of files that are not in the export.
func (w *writer) strays() (strays []string, err error) {
	dir, err := os.Open(w.path(""))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000) // there may be millions
		for _, name := range names {
			stem := strings.TrimSuffix(strings.TrimSuffix(name, entrySuffix), mailSuffix)
			if name != headerName && name != sumsName && !w.has(mail.ID(stem)) {
				strays = append(strays, name)
			}
		}
		if errors.Is(err, io.EOF) {
			return strays, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// plan writes a message and its content, which is not in the export before
// keep, nor on the disk before sync.
func (w *writer) plan(e queue.Entry, content io.Reader) error {
	f, err := os.OpenFile(w.contentPath(e.ID), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), content)
	if err == nil && n != e.Size {
		err = fmt.Errorf("its content has %d octets, not %d: %w", n, e.Size, io.ErrUnexpectedEOF)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	data, err := encode(Message{Version: version, SHA256: hex.EncodeToString(sum.Sum(nil)), Entry: e})
	if err != nil {
		return err
	}
	w.unsynced = append(w.unsynced, w.contentPath(e.ID), w.entryPath(e.ID))
	return os.WriteFile(w.entryPath(e.ID), data, 0o600)
}

// keep puts a message that was planned into the export, as it is now.
func (w *writer) keep(m Message) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	id := m.Entry.ID
	if planned, err := readSmall(w.entryPath(id)); err != nil || !bytes.Equal(planned, data) {
		if err := w.replace(string(id)+entrySuffix, m); err != nil {
			return err
		}
	}
	text := pair(id, sha256.Sum256(data), m.SHA256)
	if _, err := w.sums.Write(text); err != nil {
		return err
	}
	w.hash.Write(text)
	w.kept[id] = true
	w.manifest.add(&m.Entry)
	return nil
}

// drop takes a message that was planned out again.
func (w *writer) drop(id mail.ID) error {
	return errors.Join(remove(w.entryPath(id)), remove(w.contentPath(id)))
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// replace writes a file; whatever happens, the old one or the new is there.
func (w *writer) replace(name string, value any) error {
	data, err := encode(value)
	if err != nil {
		return err
	}
	temporary := w.path(name + ".new")
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, remove(temporary))
	}
	return os.Rename(temporary, w.path(name))
}

// sync makes durable what was planned and kept. The files are synced one after the
// other, when all are written: what the first costs the file system, the others
// have for nothing.
func (w *writer) sync() error {
	for _, path := range w.unsynced {
		if err := syncFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // dropped meanwhile
			return err
		}
	}
	w.unsynced = w.unsynced[:0]
	return errors.Join(w.sums.Sync(), w.lock.Sync())
}

// finish makes the export complete, and gives it its name.
func (w *writer) finish() error {
	err := w.sweep()
	w.manifest.Sums = hex.EncodeToString(w.hash.Sum(nil))
	err = cmp.Or(err, w.replace(manifestName, w.manifest))
	if err = cmp.Or(err, w.sync()); err != nil {
		return err
	}
	if err := os.Rename(w.path(""), w.dir); err != nil {
		return err
	}
	return syncFile(filepath.Dir(w.dir))
}

// sweep removes what earlier runs have begun in vain.
func (w *writer) sweep() error {
	names, err := w.strays()
	for _, name := range names {
		err = cmp.Or(err, remove(w.path(name)))
	}
	return err
}

// close ends the writing. What is there stays, for the next run.
func (w *writer) close() {
	for _, f := range []*os.File{w.sums, w.lock} {
		if f != nil {
			f.Close()
		}
	}
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// pair are the two lines of a message in SHA256SUMS.
func pair(id mail.ID, entry [sha256.Size]byte, content string) []byte {
	return fmt.Appendf(nil, "%x  %s%s\n%s  %s%s\n", entry, id, entrySuffix, content, id, mailSuffix)
}

// readPair reads the two lines of a message.
func readPair(lines *bufio.Reader) (id mail.ID, text []byte, err error) {
	for _, suffix := range []string{entrySuffix, mailSuffix} {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && len(text)+len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", nil, err
		}
		sum, name, found := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte("  "))
		stem, isPart := strings.CutSuffix(string(name), suffix)
		if !found || len(sum) != 2*sha256.Size || !isPart || id != "" && stem != string(id) {
			return "", nil, fmt.Errorf("%q is not the line of a message", line)
		}
		if id, err = mail.ParseID(stem); err != nil {
			return "", nil, err
		}
		text = slices.Concat(text, line)
	}
	return id, text, nil
}

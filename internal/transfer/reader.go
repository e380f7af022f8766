package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/mail"
)

// maxMessage bounds the JSON of a message, in octets.
const maxMessage = 16 << 20

// reader reads an export, in the order in which it was written.
type reader struct {
	dir      string
	header   Header
	manifest Manifest
	sums     *os.File
	lines    *bufio.Reader
	seen     int // messages
}

// openExport opens an export. It fails when that is not complete, unless that
// is allowed.
func openExport(dir string, incomplete bool) (*reader, error) {
	r := &reader{dir: dir}
	if err := r.readHeader(); err != nil {
		return nil, err
	}
	err := r.readManifest()
	if errors.Is(err, fs.ErrNotExist) {
		if !incomplete {
			return nil, fmt.Errorf("%s: the export is not complete: %s is missing; repeat the export to complete it, or import what there is with --incomplete", dir, manifestName)
		}
		err = nil
	}
	if err == nil {
		r.sums, err = os.Open(r.path(sumsName))
	}
	if err != nil {
		return nil, err
	}
	r.lines = bufio.NewReader(r.sums)
	return r, nil
}

func (r *reader) path(name string) string { return filepath.Join(r.dir, name) }

func (r *reader) readHeader() error {
	path := r.path(headerName)
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: it has no %s", r.dir, ErrNoExport, headerName)
	}
	if err == nil {
		err = decode(path, data, &r.header)
	}
	if err != nil {
		return err
	}
	return r.header.check(path)
}

// readManifest reads the manifest, and checks SHA256SUMS against it.
func (r *reader) readManifest() error {
	path := r.path(manifestName)
	data, err := readSmall(path)
	if err == nil {
		err = decode(path, data, &r.manifest)
	}
	if err != nil {
		return err
	}
	f, err := os.Open(r.path(sumsName))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != r.manifest.Sums {
		return fmt.Errorf("%s: its SHA-256 is %s; sha256sums in %s is %s", r.path(sumsName), got, path, r.manifest.Sums)
	}
	return nil
}

func (r *reader) close() error { return r.sums.Close() }

// item is one message of an export, as SHA256SUMS names it.
type item struct {
	reader         *reader
	id             mail.ID
	entry, content string // checksums
}

// next returns the next message; io.EOF behind the last.
func (r *reader) next() (item, error) {
	id, text, err := readPair(r.lines)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && r.manifest.Sums == "": // where the export was cut short
		return item{}, io.EOF
	case errors.Is(err, io.EOF):
		return item{}, err
	case err != nil:
		return item{}, fmt.Errorf("%s: %w", r.path(sumsName), err)
	}
	r.seen++
	lines := bytes.SplitN(text, []byte{'\n'}, 2)
	return item{reader: r, id: id, entry: string(lines[0][:2*sha256.Size]), content: string(lines[1][:2*sha256.Size])}, nil
}

// load reads the message and opens its content, when both are what they were
// written as. It fails with file and field.
func (i *item) load() (Message, *os.File, error) {
	path := i.reader.path(string(i.id) + entrySuffix)
	data, err := readSmall(path)
	if err != nil {
		return Message{}, nil, err
	}
	m, err := parseMessage(path, data, i.id)
	if err != nil {
		return m, nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != i.entry {
		return m, nil, fmt.Errorf("%s: its SHA-256 is %x; %s says %s", path, sum, sumsName, i.entry)
	}
	f, err := i.openContent(&m)
	return m, f, err
}

func (i *item) openContent(m *Message) (*os.File, error) {
	path := i.reader.path(string(i.id) + mailSuffix)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if got := hex.EncodeToString(sum.Sum(nil)); err == nil && (size != m.Entry.Size || got != i.content) {
		err = fmt.Errorf("%s: it has %d octets with SHA-256 %s; it was written with %d and %s", path, size, got, m.Entry.Size, i.content)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func readMessage(path string, id mail.ID) (Message, error) {
	data, err := readSmall(path)
	if err != nil {
		return Message{}, err
	}
	return parseMessage(path, data, id)
}

func parseMessage(path string, data []byte, id mail.ID) (Message, error) {
	var m Message
	if err := decode(path, data, &m); err != nil {
		return m, err
	}
	return m, m.check(path, id)
}

// readSmall reads a file that is not larger than it may be.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(f, maxMessage+1))
	if err == nil && n > maxMessage {
		err = fmt.Errorf("%s: more than %d octets", path, maxMessage)
	}
	return []byte(b.String()), err
}

// Package transfer takes messages out of one queue and into another, by files
// that anybody can read: an export is a directory.
//
//	export.json    what it is, and what the queue that it came from still has
//	ID.eml         the content of a message, octet by octet
//	ID.json        its entry: envelope, origin, recipients with their states
//	SHA256SUMS     the checksums of both, two lines for a message; sha256sum -c reads it
//	manifest.json  counts, and the checksum of SHA256SUMS; written last
//
// It asks a running server for all that it does; it neither opens stores nor
// decides what may be imported. While it is written the directory has the name
// with ".partial" behind it. An export that was cut short goes on where it
// was; of an import the server knows how far it came.
//
// A message whose files are damaged is reported and left out, and the others
// go on. Nothing of such a message is imported.
package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// version is that of the format.
const version = 1

// The names of files in an export.
const (
	headerName   = "export.json"
	sumsName     = "SHA256SUMS"
	manifestName = "manifest.json"
	partial      = ".partial" // behind the name of the directory
	entrySuffix  = ".json"
	mailSuffix   = ".eml"
)

// Source says what the queue that an export came from still has.
type Source string

// What can become of messages where they came from.
const (
	Kept    Source = "kept"    // all of them, and it delivers them
	Held    Source = "held"    // all of them, held
	Removed Source = "removed" // none of them
)

// Header says what an export is.
type Header struct {
	Version int `json:"postern_export"`
	// ID names the export: a queue imports it once.
	ID     mail.ID   `json:"id"`
	Made   time.Time `json:"made"`
	Host   string    `json:"host"`
	Source Source    `json:"source"`
	Filter string    `json:"filter,omitempty"` // "" for all
}

// Message is a message without its content.
type Message struct {
	Version int         `json:"postern_message"`
	SHA256  string      `json:"sha256"` // of the content
	Entry   queue.Entry `json:"entry"`
}

// Manifest says what an export has.
type Manifest struct {
	Messages   int    `json:"messages"`
	Recipients int    `json:"recipients"`
	Octets     int64  `json:"octets"`     // of the contents
	Sums       string `json:"sha256sums"` // the SHA-256 of SHA256SUMS
}

// add counts a message.
func (m *Manifest) add(e *queue.Entry) {
	m.Messages++
	m.Recipients += len(e.Addresses())
	m.Octets += e.Size
}

// decode reads a file of an export. It fails with file, place and field.
func decode(file string, data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		return nil
	}
	if unfit, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s:%s: %s: a %s does not belong here", file, place(data, unfit.Offset), unfit.Field, unfit.Value)
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%s:%s: not JSON: %w", file, place(data, syntax.Offset), syntax)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s:%s: not JSON: it ends too early", file, place(data, int64(len(data))))
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, unknown := strings.CutPrefix(text, "unknown field "); unknown {
		return fmt.Errorf("%s:%s: %s is no field that this program knows", file, place(data, int64(bytes.Index(data, []byte(name)))+1), name)
	}
	return fmt.Errorf("%s: %s", file, text)
}

// place is line and column of the octet before an offset.
func place(data []byte, offset int64) string {
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	line := bytes.Count(before, []byte{'\n'})
	return fmt.Sprintf("%d:%d", line+1, len(before)-bytes.LastIndexByte(before, '\n'))
}

// encode writes a value for people to read too.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(mail.PlainJSONWriter(&b))
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(value)
	return b.Bytes(), err
}

// check fails when the header is of another format.
func (h *Header) check(file string) error {
	if h.Version != version {
		return fmt.Errorf("%s: postern_export: format %d; this program knows format %d", file, h.Version, version)
	}
	if _, err := mail.ParseID(string(h.ID)); err != nil {
		return fmt.Errorf("%s: id: %w", file, err)
	}
	switch h.Source {
	case Kept, Held, Removed:
		return nil
	}
	return fmt.Errorf("%s: source: %q; it is %s, %s or %s", file, h.Source, Kept, Held, Removed)
}

// check fails when the message is of another format, or another one.
func (m *Message) check(file string, id mail.ID) error {
	switch {
	case m.Version != version:
		return fmt.Errorf("%s: postern_message: format %d; this program knows format %d", file, m.Version, version)
	case m.Entry.ID != id:
		return fmt.Errorf("%s: entry.id: %q; the file says %q", file, m.Entry.ID, id)
	}
	return nil
}

// ErrNoExport says that a directory is no export.
var ErrNoExport = errors.New("it is no export")

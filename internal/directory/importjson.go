package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/internal/mail"
)

// documentVersion is that of the form of the JSON document.
const documentVersion = 1

// readDocument reads {"version": 1, "domains": [...], "users": [...], ...}. What makes
// the text no such document ends the reading; what is wrong in a record does not.
func (im *importer) readDocument() error {
	d := json.NewDecoder(im.source)
	err := im.document(d)
	switch {
	case err == nil || isStorage(err):
		return err
	case im.source.err != nil:
		return im.source.err
	}
	problem, at := strings.TrimPrefix(err.Error(), "json: "), d.InputOffset()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		problem, at = "the document ends here, and is not whole", im.source.read
	} else {
		at += malformedAt(d.Buffered())
	}
	im.wrong(im.source.place(at), problem, `write {"version": 1, "users": [{…}, …], …}`)
	return nil
}

// malformedAt returns where a value is malformed that was not read: a Decoder that reads
// several says that only of the first.
func malformedAt(value io.Reader) int64 {
	err := json.NewDecoder(value).Decode(&json.RawMessage{})
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return max(syntax.Offset-1, 0)
	}
	return 0
}

// storageError is an error of the database, which is no fault of the file.
type storageError struct{ error }

// Unwrap returns the error of the database.
func (e storageError) Unwrap() error { return e.error }

func isStorage(err error) bool {
	_, ok := errors.AsType[storageError](err)
	return ok
}

func (im *importer) document(d *json.Decoder) error {
	if err := expect(d, json.Delim('{')); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		im.source.begin(d.InputOffset())
		if name == "version" {
			if err := readVersion(d); err != nil {
				return err
			}
			continue
		}
		s := shapeOf(func(_ Kind, plural string) bool { return plural == name })
		if s == nil {
			return fmt.Errorf("there are no records %q: use version, domains, users, aliases, lists or bans", clip(name))
		}
		if err := im.records(d, s); err != nil {
			return err
		}
	}
	if err := expect(d, json.Delim('}')); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the document goes on behind its end")
	}
	return nil
}

func readVersion(d *json.Decoder) error {
	var version int
	if err := d.Decode(&version); err != nil {
		return err
	}
	if version != documentVersion {
		return fmt.Errorf("version %d is not known, only %d", version, documentVersion)
	}
	return nil
}

// records reads an array of records.
func (im *importer) records(d *json.Decoder, s recordShape) error {
	kind, plural := s.names()
	if im.kinds[kind] {
		return fmt.Errorf("%q are here twice", plural)
	}
	im.kinds[kind] = true
	if err := expect(d, json.Delim('[')); err != nil {
		return err
	}
	for d.More() {
		im.source.begin(d.InputOffset())
		var record json.RawMessage
		if err := d.Decode(&record); err != nil {
			return err
		}
		if err := s.readJSON(im, record, d.InputOffset()-int64(len(record))); err != nil {
			return storageError{err}
		}
	}
	return expect(d, json.Delim(']'))
}

func expect(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("here is %v where %q must be", token, want.String())
	}
	return nil
}

// readJSON records what the text of a record says, which begins at an offset of the file.
func (s *shape[T]) readJSON(im *importer, record []byte, at int64) error {
	of := func(field string) mail.Place {
		return im.source.place(at + int64(fieldAt(record, field)))
	}
	var keys T
	if err := json.Unmarshal(record, &keys); err != nil {
		im.notRecord(err, of)
		return nil
	}
	value := s.base(im.tx, &keys)
	d := json.NewDecoder(bytes.NewReader(record))
	d.DisallowUnknownFields()
	if err := d.Decode(&value); err != nil {
		im.notRecord(err, of)
		return nil
	}
	return s.store(im, value, of(""), of)
}

// fieldAt returns where a field is in the text of a record, 0 if that is not known.
func fieldAt(record []byte, field string) int {
	return max(0, bytes.Index(record, []byte(`"`+field+`"`)))
}

// notRecord tells of a record whose text is none of its kind.
func (im *importer) notRecord(err error, of func(field string) mail.Place) {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:]
		im.wrong(of(field), fmt.Sprintf("%s: here is a %s", orRecord(wrong.Field), wrong.Value), "write "+typeName(wrong))
		return
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if field, unknown := strings.CutPrefix(text, `unknown field "`); unknown {
		field = strings.TrimSuffix(field, `"`)
		im.wrong(of(field), fmt.Sprintf("there is no field %q", clip(field)), "")
		return
	}
	im.wrong(of(""), clip(text), "")
}

func orRecord(field string) string {
	if field == "" {
		return "the record"
	}
	return field
}

// typeName is what a value must be, in the words of JSON.
func typeName(wrong *json.UnmarshalTypeError) string {
	switch kind := wrong.Type.Kind().String(); kind {
	case "bool":
		return "true or false"
	case "int", "int64":
		return "a whole number"
	case "slice":
		return "a list"
	case "struct":
		return "a record in braces"
	default:
		return "a " + kind
	}
}

package directory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"postern/internal/mail"
)

// ExportOptions say what is exported, and how.
type ExportOptions struct {
	Format Format
	// Kinds are those of the records; none: all. CSV takes one.
	Kinds []Kind
	// Secrets says that hashes of passwords and SCRAM keys are written too: whoever has
	// them can try passwords.
	Secrets bool
}

// Export writes the records as they are now, in the order of their keys, in a form that
// Import reads. Changes go on meanwhile. It fails as w or the database does.
func (d *Directory) Export(ctx context.Context, w io.Writer, o ExportOptions) error {
	var chosen []recordShape
	for _, s := range shapes {
		if kind, _ := s.names(); len(o.Kinds) == 0 || slices.Contains(o.Kinds, kind) {
			chosen = append(chosen, s)
		}
	}
	if o.Format == CSV && len(chosen) != 1 || o.Format != CSV && o.Format != JSON || len(chosen) == 0 {
		return fmt.Errorf("format %q of %v: use json, or csv of one kind", o.Format, o.Kinds)
	}
	b := bufio.NewWriter(w)
	err := d.Read(ctx, func(r *Reader) error {
		if o.Format == CSV {
			return chosen[0].writeCSV(b, r, o.Secrets)
		}
		return writeDocument(b, r, chosen, o.Secrets)
	})
	if err != nil {
		return err
	}
	return b.Flush()
}

func (s *shape[T]) writeCSV(w io.Writer, r *Reader, secrets bool) error {
	out := csv.NewWriter(w)
	var columns []column[T]
	var row []string
	for _, c := range s.columns {
		if secrets || !c.secret {
			columns = append(columns, c)
			row = append(row, c.name)
		}
	}
	if err := out.Write(row); err != nil {
		return err
	}
	err := s.all(r, func(record *T) error {
		rows := []T{*record}
		if s.rows != nil {
			rows = s.rows(*record)
		}
		for i := range rows {
			for n, c := range columns {
				row[n] = c.get(&rows[i])
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
	out.Flush()
	if err != nil {
		return err
	}
	return out.Error()
}

func writeDocument(w *bufio.Writer, r *Reader, chosen []recordShape, secrets bool) error {
	fmt.Fprintf(w, "{\n\"version\": %d", documentVersion)
	for _, s := range chosen {
		_, plural := s.names()
		fmt.Fprintf(w, ",\n%q: [", plural)
		if err := s.writeJSON(w, r, secrets); err != nil {
			return err
		}
		w.WriteString("]")
	}
	_, err := w.WriteString("\n}\n")
	return err
}

// writeJSON writes the records of an array, one a line.
func (s *shape[T]) writeJSON(w io.Writer, r *Reader, secrets bool) error {
	separator := "\n"
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	return s.all(r, func(record *T) error {
		if s.bare != nil && !secrets {
			s.bare(record)
		}
		text.Reset()
		if err := encoder.Encode(record); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s%s", separator, bytes.TrimSuffix(mail.PlainJSON(text.Bytes()), []byte("\n")))
		separator = ",\n"
		return err
	})
}

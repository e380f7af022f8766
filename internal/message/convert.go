package message

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/charset"
	"postern/internal/mail"
)

// Form is what the content must be for a server.
type Form struct {
	// SevenBit is for a server without 8BITMIME (RFC 6152 3): each body part that has 8-bit octets
	// is encoded (RFC 2045 6) and says so in its Content-Transfer-Encoding, and a part
	// that was labelled 8bit without need is labelled 7bit.
	SevenBit bool
	// Charset is that of the texts, for a server that knows no other; zero: any. charset.go says
	// what is converted.
	Charset charset.Charset
}

// FormIn returns the form for a server that knows the charset of a name alone; "" for any charset.
func FormIn(name string, sevenBit bool) (Form, error) {
	to := Form{SevenBit: sevenBit}
	if name != "" {
		var known bool
		if to.Charset, known = charset.Lookup(name); !known {
			return Form{}, fmt.Errorf("there is no charset %s", name)
		}
	}
	return to, nil
}

// Converted is content in another form. All but what must change for that stays octet for octet, and
// what was encoded decodes to what it was, or to the same text.
//
// It holds no content, only what is to be changed in it.
type Converted struct {
	src   io.ReaderAt
	end   int64 // of src
	edits []edit
	size  int64
	texts int
	words int
}

// Convert finds out how content of so many octets gets into a form. It reads all of it, twice; texts in
// another charset, four times.
//
// It fails with 554 5.6.3 when there is no such 7-bit form: a header field has 8-bit
// octets, or they stand where nothing can be encoded, or under a signature,
// which a change would break; and when the message has too many parts, or too
// deep ones, to look at. It fails with 550 5.6.3 when the texts cannot be in the charset. All other
// errors are those of src.
func Convert(src io.ReaderAt, size int64, to Form) (*Converted, error) {
	w := walk{src: src, to: to}
	w.begin(io.NewSectionReader(src, 0, size))
	if _, err := w.entity(place{message: true}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(w.edits, func(a, b edit) int { return int(a.from - b.from) })
	c := &Converted{src: src, end: size, edits: w.edits, texts: w.texts, words: w.words}
	var err error
	c.size, err = io.Copy(io.Discard, c.Reader())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ToSevenBit converts content to 7 bits alone.
func ToSevenBit(src io.ReaderAt, size int64) (*Converted, error) {
	return Convert(src, size, Form{SevenBit: true})
}

// Size returns how many octets Reader gives.
func (c *Converted) Size() int64 { return c.size }

// Recoded says what was converted to the charset: "2 texts and 1 piece of the header"; "" for nothing.
func (c *Converted) Recoded() string {
	var said []string
	if c.texts > 0 {
		said = append(said, counted(c.texts, "text"))
	}
	if c.words > 0 {
		said = append(said, counted(c.words, "piece")+" of the header")
	}
	return strings.Join(said, " and ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Reader returns a reader of the content in its form, from its begin.
func (c *Converted) Reader() io.Reader { return &editReader{c: c} }

// edit is one place that is changed: text stands for the octets of the
// original from one offset to another, or what they become does.
type edit struct {
	from, to int64
	text     string
	encoding encoding
	// ended says that the encoded form must end its last line itself,
	// because nothing follows.
	ended bool
	// recode, if not nil, converts the text that is there.
	recode *recoding
}

func (e edit) reader(src io.ReaderAt) io.Reader {
	section := io.Reader(io.NewSectionReader(src, e.from, e.to-e.from))
	switch {
	case e.recode != nil:
		return encoded(e.recode.reader(section), e.encoding, e.ended)
	case e.encoding != "":
		return encoded(section, e.encoding, e.ended)
	}
	return strings.NewReader(e.text)
}

// editReader gives the edits and what is between them.
type editReader struct {
	c    *Converted
	next int       // edit
	at   int64     // offset in src
	part io.Reader // what is being read; nil at a seam
}

// Read implements io.Reader.
func (r *editReader) Read(p []byte) (int, error) {
	for {
		if r.part == nil && !r.step() {
			return 0, io.EOF
		}
		n, err := r.part.Read(p)
		if err == io.EOF {
			r.part, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// step takes up the next part. It returns false when there is none.
func (r *editReader) step() bool {
	to := r.c.end
	if r.next < len(r.c.edits) {
		e := r.c.edits[r.next]
		if r.at == e.from {
			r.part, r.at = e.reader(r.c.src), e.to
			r.next++
			return true
		}
		to = e.from
	}
	if r.at == to {
		return false
	}
	r.part, r.at = io.NewSectionReader(r.c.src, r.at, to-r.at), to
	return true
}

// errNotSevenBit is the refusal of a conversion (RFC 3463 3.7: X.6.3).
func errNotSevenBit(why string) error {
	return mail.Refuse(554, "5.6.3", "The next server takes no 8-bit content, and this message cannot be converted: %s", why)
}

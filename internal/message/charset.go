package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/transform"

	"postern/internal/charset"
	"postern/internal/mail"
)

// This file converts texts to the one charset that a server knows (Form.Charset). What a message
// declares to be in another is converted, and declared anew:
//
//   - bodies of the type text, by the charset of their Content-Type. Their encoding stays, unless the
//     text cannot stand in that: 8-bit octets where only 7 bits may go, lines that got too
//     long, or one that could be taken for the delimiter of a part;
//   - encoded words (RFC 2047) in the fields that people read, and parameters that name a part, by RFC 2231 or by
//     encoded words in quotes (charsetwords.go).
//
// A text of octets that are US-ASCII in its charset stays as it is: it means the same in both. So does
// what declares no charset, or one that means that it is not known: there is nothing to go by. All else
// must be converted, or the message cannot go to that server: its charset is not known, it
// has octets that are none of it, or characters that the other lacks, or it is signed.

// errCharset is the refusal of a conversion of texts (RFC 3463 3.7: X.6.3).
func (w *walk) errCharset(why string, args ...any) error {
	return mail.Refuse(550, "5.6.3", "The next server takes texts only in "+w.to.Charset.String()+", and this message cannot be converted: "+why, args...)
}

// declaredCharset is the charset that a header declares for a text, and where its name stands; "" for
// none.
type declaredCharset struct {
	name     string
	from, to int64
}

// unknownCharsets are names that say that nobody knows the charset (RFC 1428 3).
var unknownCharsets = []string{"unknown-8bit", "x-unknown", "unknown"}

// errMisencoded is the failure that a part is not encoded as it says.
var errMisencoded = errors.New("not encoded as it should be")

// recode converts the body of a part, if it is a text that must be. done is false when the
// body stays as it is.
func (w *walk) recode(h *head, b body, ended bool) (done bool, err error) {
	if w.to.Charset.IsZero() || !h.text || !h.charset.given() {
		return false, nil
	}
	from, known := charset.Lookup(h.charset.name)
	if from.Same(w.to.Charset) || from.String() == "us-ascii" {
		return false, nil
	}
	r := &recoding{from: from, to: w.to.Charset, encoding: h.encoding}
	section := io.NewSectionReader(w.src, b.from, b.to-b.from)
	if !r.readable() {
		return false, nil
	}
	plain, err := isPlain(r.octets(section), from, known)
	switch {
	case errors.Is(err, errMisencoded):
		return false, w.errCharset(errEncoded)
	case plain, err != nil:
		return false, err
	case !known:
		return false, w.errCharset("a text is in %.64q, which is not known", h.charset.name)
	case h.signed, h.digested:
		return false, w.errCharset(errSigned)
	case !h.separated:
		return false, w.errCharset(errUnseparated)
	}
	found, err := w.survey(r, b)
	if err != nil {
		return false, err
	}
	w.write(h, b, found, edit{recode: r, ended: ended})
	return true, nil
}

// write notes how a text that was looked at is written.
func (w *walk) write(h *head, b body, found survey, e edit) {
	e.from, e.to = b.from, b.to
	label := h.encoding
	switch identity := !h.isEncoded(); {
	case !identity:
		e.encoding = encoding(h.encoding)
	case found.unfit(w.to.SevenBit) || e.ended && !found.ended:
		e.encoding = encodingFor(found.eightBit, found.octets)
		label = string(e.encoding)
	case found.eightBit == 0 && w.to.SevenBit && h.encoding != "":
		label = "7bit"
	case found.eightBit > 0 && h.encoding != "binary":
		label = "8bit"
	}
	w.edits = append(w.edits, edit{from: h.charset.from, to: h.charset.to, text: w.to.Charset.String()})
	if label != h.encoding {
		w.label(h, label)
	}
	w.complete(h)
	w.edits = append(w.edits, e)
	w.texts++
}

// recoding converts the text of a part.
type recoding struct {
	from, to charset.Charset
	encoding string // Content-Transfer-Encoding, in lower case
}

// readable reports whether the encoding is one that is known.
func (r *recoding) readable() bool {
	switch r.encoding {
	case "", "7bit", "8bit", "binary", string(quotedPrintable), string(base64Lines):
		return true
	}
	return false
}

// octets is what the body decodes to by its encoding. It fails with errMisencoded.
func (r *recoding) octets(src io.Reader) io.Reader {
	switch r.encoding {
	case string(quotedPrintable):
		return &exactReader{src: &paddingReader{br: bufio.NewReader(src)}, decoder: &quotedDecoder{text: true}}
	case string(base64Lines):
		return &exactReader{src: src, decoder: new(base64Decoder)}
	}
	return src
}

// text is the text in UTF-8.
func (r *recoding) text(src io.Reader) io.Reader {
	return transform.NewReader(r.octets(src), r.from.NewDecoder())
}

// reader is the text in the charset that is wanted.
func (r *recoding) reader(src io.Reader) io.Reader {
	return transform.NewReader(r.text(src), r.to.NewEncoder())
}

// exactReader decodes what must be encoded as it should be.
type exactReader struct {
	src     io.Reader
	decoder decoder
	in, buf []byte
	out     []byte // decoded and not yet read
	err     error
}

// Read implements io.Reader.
func (e *exactReader) Read(p []byte) (int, error) {
	if e.in == nil {
		e.in = make([]byte, 4<<10)
	}
	for len(e.out) == 0 && e.err == nil {
		n, err := e.src.Read(e.in)
		decoded, ok := e.decoder.decode(e.buf[:0], e.in[:n])
		e.out, e.buf, e.err = decoded, decoded, err
		if !ok || err == io.EOF && !e.decoder.end() {
			e.err = errMisencoded
		}
	}
	n := copy(p, e.out)
	if e.out = e.out[n:]; len(e.out) > 0 {
		return n, nil
	}
	return n, e.err
}

// paddingReader leaves the blanks out that stand at the ends of lines of quoted-printable, where
// they were put on the way (RFC 2045 6.7, rule 3).
type paddingReader struct {
	br   *bufio.Reader
	held []byte // blanks, of which it is not known whether a line ends behind them
	line []byte
}

// Read implements io.Reader.
func (r *paddingReader) Read(p []byte) (int, error) {
	for len(r.line) == 0 {
		line, err := r.br.ReadSlice('\n')
		text := line
		if err == nil {
			text = trimLineEnd(line)
		}
		trimmed := bytes.TrimRight(text, " \t")
		switch {
		case err == bufio.ErrBufferFull && len(r.held) > copyBuffer:
			return 0, errMisencoded
		case len(trimmed) > 0:
			r.line = append(r.held, trimmed...)
			r.held = nil
		}
		switch err {
		case nil:
			r.held, r.line = nil, append(r.line, line[len(text):]...)
		case bufio.ErrBufferFull:
			r.held = append(r.held, text[len(trimmed):]...)
		default:
			if len(r.line) == 0 {
				return 0, err
			}
		}
	}
	n := copy(p, r.line)
	r.line = r.line[n:]
	return n, nil
}

// isPlain reports whether octets are US-ASCII in the charset, or would be in most if it is not known.
func isPlain(octets io.Reader, c charset.Charset, known bool) (plain bool, err error) {
	special, all := "\x1b", false
	if known {
		special, all = c.Special()
	}
	buf := make([]byte, copyBuffer)
	any := all
	for {
		n, err := octets.Read(buf)
		any = any || HasEightBit(buf[:n]) || special != "" && bytes.ContainsAny(buf[:n], special)
		switch {
		case err == io.EOF:
			return !any, nil
		case err != nil:
			return false, err
		}
	}
}

// maxTextLine is the length of a line (RFC 5322 2.1.1).
const maxTextLine = 998

// survey is what must be known of a text to write it.
type survey struct {
	octets, eightBit int64
	longest          int
	// delimiter says that a line begins as a delimiter of a part does; ended, that the last has an end.
	delimiter, ended bool
	// signed says that there is a signature in it (RFC 9580 7).
	signed bool
}

// unfit reports whether the text cannot stand in the message without an encoding.
func (s *survey) unfit(sevenBit bool) bool {
	return sevenBit && s.eightBit > 0 || s.longest > maxTextLine+len("\r\n") || s.delimiter
}

// survey converts a text without writing it, and makes sure that it is the same text.
func (w *walk) survey(r *recoding, b body) (survey, error) {
	section := func() io.Reader { return io.NewSectionReader(w.src, b.from, b.to-b.from) }
	s := surveyor{open: &w.open}
	again := transform.NewReader(io.TeeReader(r.reader(section()), &s), r.to.NewDecoder())
	same, err := sameText(r.text(section()), again)
	switch {
	case err == nil && same && s.signed:
		return survey{}, w.errCharset(errSigned)
	case err == nil && same:
		s.endLine()
		return s.survey, nil
	case err != nil && isBroken(err):
		return survey{}, err
	}
	switch lacking, err := r.lacking(section()); {
	case errors.Is(err, charset.ErrNotText):
		return survey{}, w.errCharset("a text has octets that are none of %s", r.from)
	case err != nil:
		return survey{}, err
	default:
		return survey{}, w.errLacking(lacking)
	}
}

// errLacking is the refusal for a character; 0 is none that is known.
func (w *walk) errLacking(c rune) error {
	if c == 0 {
		return w.errCharset("it would be another text")
	}
	return w.errCharset("it has the character %U", c)
}

// isBroken reports whether a failure is that of the content's source, not of the text in it.
func isBroken(err error) bool {
	return !errors.Is(err, charset.ErrNotText) && !errors.Is(err, charset.ErrLacks)
}

// sameText reports whether two readers give the same.
func sameText(a, b io.Reader) (bool, error) {
	one, other := make([]byte, copyBuffer), make([]byte, copyBuffer)
	for {
		n, errA := io.ReadFull(a, one)
		m, errB := io.ReadFull(b, other)
		if !bytes.Equal(one[:n], other[:m]) {
			return false, firstFailure(errA, errB)
		}
		if errA != nil || errB != nil {
			return true, firstFailure(errA, errB)
		}
	}
}

// firstFailure returns which of the errors is no end.
func firstFailure(errs ...error) error {
	for _, err := range errs {
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
	}
	return nil
}

// lacking returns the first character of a text that the charset lacks; 0 if there is none.
func (r *recoding) lacking(src io.Reader) (rune, error) {
	text, buf, held := r.text(src), make([]byte, copyBuffer), 0
	for {
		n, err := io.ReadFull(text, buf[held:])
		piece := buf[:held+n]
		whole := piece[:wholeCharacters(piece)]
		if c, is := r.to.Lacking(whole); is {
			return c, nil
		}
		if err != nil {
			return 0, firstFailure(err)
		}
		held = copy(buf, piece[len(whole):])
	}
}

// wholeCharacters returns how many octets of UTF-8 there are without a last character that goes on behind them.
func wholeCharacters(p []byte) int {
	for n := len(p) - 1; n >= max(0, len(p)-utf8.UTFMax); n-- {
		if utf8.RuneStart(p[n]) {
			if utf8.FullRune(p[n:]) {
				return len(p)
			}
			return n
		}
	}
	return len(p)
}

// surveyor looks at what is written to it.
type surveyor struct {
	survey
	open  *delimiters
	line  int
	begin []byte // of the line
}

// maxLineBegin is how much of a line is looked at for a delimiter.
const maxLineBegin = 2 + maxBoundary

// Write implements io.Writer.
func (s *surveyor) Write(p []byte) (int, error) {
	s.octets += int64(len(p))
	s.eightBit += countEightBit(p)
	for piece := range bytes.Lines(p) {
		s.begin = append(s.begin, piece[:min(len(piece), maxLineBegin-len(s.begin))]...)
		s.line += len(piece)
		if s.ended = piece[len(piece)-1] == '\n'; s.ended {
			s.endLine()
		}
	}
	return len(p), nil
}

// endLine looks at the line.
func (s *surveyor) endLine() {
	s.longest = max(s.longest, s.line)
	if found, _ := s.open.match(s.begin); len(found) > 0 {
		s.delimiter = true
	}
	s.signed = s.signed || bytes.HasPrefix(s.begin, []byte("-----BEGIN PGP SIGNED MESSAGE-----"))
	s.begin, s.line = s.begin[:0], 0
}

// given reports whether a charset is declared that says something.
func (d *declaredCharset) given() bool {
	if d.name == "" {
		return false
	}
	for _, name := range unknownCharsets {
		if strings.EqualFold(name, d.name) {
			return false
		}
	}
	return true
}

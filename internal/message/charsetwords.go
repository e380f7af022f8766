package message

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/transform"

	"postern/internal/charset"
)

// shownFields are the fields whose text people read, and no program. Nothing else of a header is
// changed but the parameters of Content-Type and Content-Disposition that name a part.
var shownFields = []string{
	"Subject", "Comments", "Keywords", "From", "Sender", "Reply-To", "To", "Cc", "Bcc",
	"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc",
	"Content-Description", "Disposition-Notification-To", "List-Id", "Organization", "Thread-Topic",
}

// recodeHeader converts the texts of the header that begins at start, and notes which charset it declares for
// the body.
func (w *walk) recodeHeader(h *head, start int64) error {
	if w.to.Charset.IsZero() {
		return nil
	}
	signed := h.signed || w.bearsSignature()
	at := start
	for _, f := range w.header.fields {
		raw := string(f.raw)
		var err error
		switch {
		case slices.ContainsFunc(shownFields, f.Is):
			err = w.recodeWords(raw, at, signed)
		case f.Is("Content-Type"):
			h.charset = charsetOf(raw, at)
			err = w.recodeParameters(raw, at, signed)
		case f.Is("Content-Disposition"):
			err = w.recodeParameters(raw, at, signed)
		}
		if err != nil {
			return err
		}
		at += int64(len(raw))
	}
	return nil
}

// bearsSignature reports whether the body is signed, or encrypted by what also signs. Then the header stays as it is, too: there
// may be another within, with which it is compared (RFC 8551 3.1).
func (w *walk) bearsSignature() bool {
	value, _ := w.header.First("Content-Type")
	return slices.Contains([]string{"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"}, firstWord(value))
}

// maxWordLine is the length of a line with an encoded word (RFC 2047 2).
const maxWordLine = 76

// wordRun is encoded words of one charset behind each other: one text (RFC 2047 6.2).
type wordRun struct {
	charset, language string
	octets            []byte
	from, to          int
}

// recodeWords converts the encoded words of a field that stands at an offset.
func (w *walk) recodeWords(raw string, at int64, signed bool) error {
	return w.recodeRuns(raw, at, wordRuns(raw), signed)
}

// recodeRuns converts some of them.
func (w *walk) recodeRuns(raw string, at int64, runs []wordRun, signed bool) error {
	for _, run := range runs {
		text, must, err := w.recodeText(run.charset, run.octets)
		switch {
		case err != nil:
			return err
		case !must:
			continue
		case signed:
			return w.errCharset(errSigned)
		}
		prefix := "=?" + w.to.Charset.String()
		if run.language != "" {
			prefix += "*" + run.language
		}
		column := run.from - strings.LastIndexByte(raw[:run.from], '\n') - 1
		words := wordMaker{prefix, w.to.Charset, maxWordLine - column}.words(text)
		e := edit{from: at + int64(run.from), to: at + int64(run.to), text: strings.Join(words, "\r\n ")}
		w.edits = append(w.edits, e)
		w.words++
	}
	return nil
}

// wordRuns finds the encoded words of a field. What is malformed, or more than 1,000 of them, is none.
func wordRuns(raw string) []wordRun {
	var runs []wordRun
	words := 0
	for from := 0; ; {
		begin := strings.Index(raw[from:], "=?")
		if begin < 0 || words == maxWords {
			return runs
		}
		begin += from
		from = begin + len("=?")
		d := wordDecoder{sure: true}
		word, behind, is := d.cutWord(raw[from:])
		if !is || !d.sure {
			continue
		}
		words++
		name, _, _ := strings.Cut(raw[from:], "?")
		_, language, _ := strings.Cut(name, "*")
		from = len(raw) - len(behind)
		if n := len(runs); n > 0 && runs[n-1].goesOn(raw[:begin], word.charset) {
			runs[n-1].octets, runs[n-1].to = append(runs[n-1].octets, word.octets...), from
			continue
		}
		runs = append(runs, wordRun{word.charset, language, word.octets, begin, from})
	}
}

// goesOn reports whether a word that stands behind what is before belongs to the run.
func (r *wordRun) goesOn(before, charset string) bool {
	blank := before[r.to:]
	return strings.Trim(blank, " \t\r\n") == "" && strings.EqualFold(r.charset, charset)
}

// recodeText returns the text that octets of a charset are, in UTF-8, if that must be converted.
func (w *walk) recodeText(name string, octets []byte) (text string, must bool, err error) {
	from, known := charset.Lookup(name)
	if from.Same(w.to.Charset) || from.String() == "us-ascii" {
		return "", false, nil
	}
	if plain, err := isPlain(bytes.NewReader(octets), from, known); plain || err != nil {
		return "", false, err
	}
	if !known {
		return "", false, w.errCharset("a header field is in %.64q, which is not known", name)
	}
	decoded, _, err := transform.Bytes(from.NewDecoder(), octets)
	if err != nil {
		return "", false, w.errCharset("a header field has octets that are none of %s", from)
	}
	if c, lacks := w.to.Charset.Lacking(decoded); lacks {
		return "", false, w.errLacking(c)
	}
	return string(decoded), true, nil
}

// quotedNames finds the encoded words in quoted values of the parameters that name a part.
//
// QUIRK: RFC 2047 5 (3) has none there, and yet many programs write names so, and nearly all read them.
func quotedNames(raw string, list []rawParameter) (runs []wordRun) {
	for _, p := range list {
		value := raw[p.valueFrom:p.to]
		if p.name != "name" && p.name != "filename" || strings.Contains(value, `\`) {
			continue
		}
		for _, run := range wordRuns(value) {
			run.from, run.to = run.from+p.valueFrom, run.to+p.valueFrom
			runs = append(runs, run)
		}
	}
	return runs
}

// recodeParameters converts the parameters that name a part: by RFC 2231, or by encoded words in quotes.
func (w *walk) recodeParameters(raw string, at int64, signed bool) error {
	list := rawParameters(raw)
	if err := w.recodeRuns(raw, at, quotedNames(raw, list), signed); err != nil {
		return err
	}
	for _, name := range []string{"name", "filename"} {
		sections, ok := sectionsOf(list, name)
		if !ok {
			continue
		}
		joined := make([]section, len(sections))
		for i, p := range sections {
			joined[i] = newSection(p.name[len(name)+1:], p.value)
		}
		declared, octets, sure := join(joined, false)
		if !sure || declared == "" {
			continue
		}
		text, must, err := w.recodeText(declared, octets)
		switch {
		case err != nil:
			return err
		case !must:
			continue
		case signed:
			return w.errCharset(errSigned)
		}
		_, language, _ := strings.Cut(sections[0].value, "'")
		language, _, _ = strings.Cut(language, "'")
		first, last := sections[0], sections[len(sections)-1]
		w.edits = append(w.edits, edit{from: at + int64(first.from), to: at + int64(last.to), text: w.extended(name, language, text)})
		w.words++
	}
	return nil
}

// sectionsOf returns the parameters that make the value of a name (RFC 2231 3, 4). ok is false when they are not
// of that form, not in order, or something stands between them: then it is not certain what
// readers of mail see.
func sectionsOf(list []rawParameter, name string) (sections []rawParameter, ok bool) {
	next := -1
	for i, p := range list {
		suffix, is := strings.CutPrefix(p.name, name+"*")
		if !is {
			continue
		}
		s := newSection(suffix, p.value)
		if !s.sure || s.number != len(sections) && !(s.number < 0 && len(sections) == 0) || next >= 0 && next != i {
			return nil, false
		}
		sections, next = append(sections, p), i+1
	}
	whole := len(sections) == 1 && sections[0].name == name+"*"
	return sections, whole || len(sections) > 0 && sections[0].name == name+"*0*"
}

// maxSectionText is how many octets of an encoded value stand in one section, so that a line has room
// for it.
const maxSectionText = 50

// extended writes a parameter as RFC 2231 has it: in one section if that fits a line, else in as many as are
// needed, each of whole characters.
func (w *walk) extended(name, language, text string) string {
	begin := w.to.Charset.String() + "'" + language + "'"
	encoder := w.to.Charset.NewEncoder()
	pieces := encodePieces(text, maxSectionText-len(begin), maxSectionText, func(piece string) string {
		return percentEncoded(encoder, piece)
	})
	pieces[0] = begin + pieces[0]
	if len(pieces) == 1 {
		return name + "*=" + pieces[0]
	}
	var b strings.Builder
	for i, piece := range pieces {
		if i > 0 {
			b.WriteString(";\r\n ")
		}
		fmt.Fprintf(&b, "%s*%d*=%s", name, i, piece)
	}
	return b.String()
}

// percentEncoded encodes a text, of which the charset has all characters.
//
// QUIRK: Python decodes what stands between encoded octets by itself, so that all octets of a character are if one is.
func percentEncoded(encoder transform.Transformer, text string) string {
	var out []byte
	for part := range eachASCII(text) {
		for _, c := range encodeTo(encoder, part) {
			if len(part) == 1 && (isAlphanumeric(c) || strings.IndexByte(".-_", c) >= 0) {
				out = append(out, c)
			} else {
				out = appendHex(out, '%', c)
			}
		}
	}
	return string(out)
}

// eachASCII yields the characters of US-ASCII one by one, and what is between them.
func eachASCII(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			n := strings.IndexFunc(text, func(c rune) bool { return c < utf8.RuneSelf })
			switch {
			case n < 0:
				n = len(text)
			case n == 0:
				n = 1
			}
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

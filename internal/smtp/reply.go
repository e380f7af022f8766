package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
)

// MaxReplyLine is the length of the longest reply line, with its code and
// CRLF, in octets (RFC 5321 4.5.3.1.5).
const MaxReplyLine = 512

// Reasons for which ReadReply refuses what a server sent.
var (
	ErrReplySyntax  = errors.New("not an SMTP reply")
	ErrReplyTooLong = errors.New("SMTP reply too long")
)

// AppendReply appends the wire form of r to dst: one line for each line of
// its text, each with the code and the enhanced code (RFC 2034 4), all but
// the last marked by a hyphen (RFC 5321 4.2.1).
//
// Nothing in r can break out of its line. Control characters become spaces,
// octets that are no UTF-8 become question marks, and lines that would be
// longer than MaxReplyLine are split at a space where there is one. A reply
// whose code is none (RFC 5321 4.2: 200 to 599) becomes mail.LocalError; an
// enhanced code that is malformed or of another class than the code is left
// out.
func AppendReply(dst []byte, r mail.Reply) []byte {
	if r.Code < 200 || r.Code > 599 {
		r = mail.LocalError
	}
	r.Text = cleanText(r.Text)
	if r.Enhanced != enhancedPrefix(r.Enhanced, r.Code) {
		r.Enhanced = ""
	}
	if r.Enhanced == "" {
		r = splitEnhanced(r)
	}
	room := MaxReplyLine - len("250 ") - len("\r\n")
	if r.Enhanced != "" {
		room -= len(r.Enhanced) + len(" ")
	}
	for line, rest, more := "", r.Text, true; more; {
		line, rest, more = cutLine(rest, room)
		dst = strconv.AppendInt(dst, int64(r.Code), 10)
		if more {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		dst = append(dst, r.Enhanced...)
		if r.Enhanced != "" && line != "" {
			dst = append(dst, ' ')
		}
		dst = append(dst, line...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// cutLine cuts the first line off text, and no more than room octets of it.
// more says that another line follows.
func cutLine(text string, room int) (line, rest string, more bool) {
	line, rest, more = strings.Cut(text, "\n")
	if len(line) <= room {
		return line, rest, more
	}
	if cut := strings.LastIndexByte(line[:room+1], ' '); cut > 0 {
		return text[:cut], text[cut+1:], true
	}
	cut := room
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut], text[cut:], true
}

// cleanText returns text with nothing in it that could harm a line of a
// protocol or a terminal. Line feeds stay.
func cleanText(text string) string {
	clean := true
	for i := range len(text) {
		if c := text[i]; (c < ' ' && c != '\n') || c > '~' {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == utf8.RuneError:
			return '?'
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, text)
}

// splitEnhanced moves the enhanced code from the text of r, if its first
// line begins with one, to where it belongs; and takes it off the other lines
// (RFC 2034 4 repeats it on each).
func splitEnhanced(r mail.Reply) mail.Reply {
	enhanced := enhancedPrefix(r.Text, r.Code)
	if enhanced == "" {
		return r
	}
	r.Enhanced = enhanced
	if strings.IndexByte(r.Text, '\n') < 0 {
		r.Text = trimEnhanced(r.Text, enhanced)
		return r
	}
	lines := strings.Split(r.Text, "\n")
	for i, line := range lines {
		lines[i] = trimEnhanced(line, enhanced)
	}
	r.Text = strings.Join(lines, "\n")
	return r
}

func trimEnhanced(line, enhanced string) string {
	rest, found := strings.CutPrefix(line, enhanced)
	if !found || rest != "" && rest[0] != ' ' {
		return line
	}
	return strings.TrimPrefix(rest, " ")
}

// enhancedPrefix returns the enhanced code (RFC 3463 2) that stands as a word
// at the front of text, or "". Its class must be that of code; a 3yz reply
// has none (RFC 2034 4).
func enhancedPrefix(text string, code int) string {
	class := code / 100
	if class == 3 || len(text) < len("2.0.0") || int(text[0]-'0') != class || text[1] != '.' {
		return ""
	}
	subject := digits(text[2:])
	i := 2 + subject
	if subject == 0 || i >= len(text) || text[i] != '.' {
		return ""
	}
	detail := digits(text[i+1:])
	i += 1 + detail
	if detail == 0 || i < len(text) && text[i] != ' ' && text[i] != '\n' {
		return ""
	}
	return text[:i]
}

// digits returns how many digits text begins with: at most 3, as RFC 3463 2
// allows; 0 if there are more.
func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	if n > 3 {
		return 0
	}
	return n
}

// ReadReply reads one reply, of one line or more, of at most limit octets
// with its line ends. The enhanced code is split from the text where the
// reply has one of its own class (RFC 2034 4). Lines of the text are joined
// by "\n"; control characters in it become spaces. A line that ends with a
// bare line feed is accepted: a reply carries no mail, so nothing can be
// smuggled in it.
//
// It fails with ErrReplySyntax (wrapped, with the line) or ErrReplyTooLong,
// with io.EOF when the stream ends before a reply and io.ErrUnexpectedEOF
// when it ends within one, or with the error of the stream. After an error
// the stream is out of step and of no further use.
func ReadReply(br *bufio.Reader, limit int) (mail.Reply, error) {
	var reply mail.Reply
	var text []byte // of a reply of several lines, or of a long one
	for left := limit; ; {
		line, err := readReplyLine(br, left)
		if err != nil {
			if err == io.EOF && reply.Code != 0 {
				err = io.ErrUnexpectedEOF
			}
			return mail.Reply{}, err
		}
		left -= len(line)
		code, last, rest, err := parseReplyLine(line)
		if err != nil {
			return mail.Reply{}, err
		}
		if reply.Code != 0 && code != reply.Code {
			return mail.Reply{}, errReplySyntax("another code than the line before", line)
		}
		if reply.Code == 0 && last {
			reply.Code, reply.Text = code, cleanText(string(rest))
			return splitEnhanced(reply), nil
		}
		if reply.Code != 0 {
			text = append(text, '\n')
		}
		reply.Code = code
		text = append(text, rest...)
		if last {
			reply.Text = cleanText(string(text))
			return splitEnhanced(reply), nil
		}
	}
}

// readReplyLine returns a line with its end, valid until the next read.
func readReplyLine(br *bufio.Reader, left int) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(line) <= left {
			var more []byte
			more, err = br.ReadSlice('\n')
			line = append(line, more...)
		}
	}
	switch {
	case len(line) > left:
		return nil, ErrReplyTooLong
	case err == io.EOF && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	}
	return line, err
}

// parseReplyLine takes a line with its end apart (RFC 5321 4.2).
func parseReplyLine(line []byte) (code int, last bool, text []byte, err error) {
	text = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(text) < 3 || text[0] < '2' || text[0] > '5' || !isDigit(text[1]) || !isDigit(text[2]) {
		return 0, false, nil, errReplySyntax("no code from 200 to 599", line)
	}
	code = int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0')
	if len(text) == 3 {
		return code, true, nil, nil
	}
	if mark := text[3]; mark != ' ' && mark != '-' {
		return 0, false, nil, errReplySyntax("neither space nor hyphen after the code", line)
	}
	return code, text[3] == ' ', text[4:], nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// errReplySyntax shows no more of a line than a person would read.
func errReplySyntax(problem string, line []byte) error {
	return fmt.Errorf("%w: %s: %.80q", ErrReplySyntax, problem, line)
}

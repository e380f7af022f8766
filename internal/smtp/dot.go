package smtp

import (
	"bufio"
	"bytes"
)

// DotWriter writes message content as it follows DATA (RFC 5321 4.5.2): a
// line that begins with a dot gets another, and Close writes the end of data.
//
// It keeps the CR/LF law on the way out: a bare CR or a bare LF never leaves,
// each becomes CRLF, and NUL becomes a space. State is kept across calls of
// Write, so that content may be cut anywhere.
type DotWriter struct {
	w         *bufio.Writer
	chunk     bool // for BDAT: no dots, no end of data
	lineStart bool // what comes next begins a line
	pendingCR bool // the last octet was CR; it has not been written
}

// NewDotWriter returns a DotWriter that writes to w and never flushes it.
func NewDotWriter(w *bufio.Writer) *DotWriter { return &DotWriter{w: w, lineStart: true} }

// NewChunkWriter returns a DotWriter of content that follows BDAT (RFC 3030 2):
// the same law of line ends, no dots, and Close only ends the last line.
func NewChunkWriter(w *bufio.Writer) *DotWriter {
	return &DotWriter{w: w, lineStart: true, chunk: true}
}

// Write writes p. It fails with the error of the underlying writer, and then
// says that nothing of p was written: how much was cannot be known.
func (d *DotWriter) Write(p []byte) (int, error) {
	rest := p
	if hasNUL(p) {
		rest = bytes.Clone(p)
		space(rest)
	}
	if d.pendingCR && len(p) > 0 {
		d.endLine()
		rest = bytes.TrimPrefix(rest, []byte("\n"))
	}
	// The writer's error is sticky, so the last write reports that of any.
	if _, err := d.w.Write(d.stuff(rest)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// stuff writes all of p but its end, which can be written as it is and is
// returned. Runs of octets that need no change are written in one piece.
func (d *DotWriter) stuff(p []byte) []byte {
	run := 0 // p[run:at] is to be written as it is
	lf := -1 // the next LF at or after at, or len(p)
	for at := 0; at < len(p); {
		if d.lineStart && p[at] == '.' && !d.chunk {
			d.w.Write(p[run:at])
			d.w.WriteByte('.')
			run = at
		}
		if lf < at {
			lf = indexFrom(p, at, '\n')
		}
		cr := indexFrom(p[:lf], at, '\r')
		switch {
		case cr == lf-1 && lf < len(p): // CRLF
			at = lf + 1
			d.lineStart = true
		case cr < lf && cr == len(p)-1: // the next call will tell whether it is bare
			d.w.Write(p[run:cr])
			d.pendingCR = true
			return nil
		case cr == len(p): // no line end
			d.lineStart = false
			return p[run:]
		default: // bare CR, or bare LF where cr == lf
			d.w.Write(p[run:cr])
			d.endLine()
			at = cr + 1
			run = at
		}
	}
	return p[run:]
}

// indexFrom returns the index of the first c in p at or after from, and
// len(p) if there is none.
func indexFrom(p []byte, from int, c byte) int {
	if i := bytes.IndexByte(p[from:], c); i >= 0 {
		return from + i
	}
	return len(p)
}

func (d *DotWriter) endLine() {
	d.w.WriteString("\r\n")
	d.lineStart, d.pendingCR = true, false
}

// Close writes the end of data: a dot on a line of its own, after a CRLF if
// the content did not end with one. It does not flush the underlying writer.
// It fails with that writer's error.
func (d *DotWriter) Close() error {
	if d.pendingCR || !d.lineStart {
		d.endLine()
	}
	end := ".\r\n"
	if d.chunk {
		end = ""
	}
	_, err := d.w.WriteString(end)
	return err
}

package message

import "io"

// Content returns the content of a part of the message src, decoded by the first
// of its encodings. What is not encoded as it should be comes out as readers of
// mail have it; the inspection has noted it. A part that consists of parts has
// none of its own. The reader fails only when src does.
func (p *Part) Content(src io.ReaderAt) io.Reader {
	c := newContent(&declared{types: p.Types, encodings: p.Encodings})
	return &contentReader{src: io.NewSectionReader(src, p.At, p.Size), decoder: c.decoder, in: make([]byte, copyBuffer)}
}

// contentReader decodes what it reads.
type contentReader struct {
	src     io.Reader
	decoder decoder
	in      []byte
	buf     []byte
	out     []byte // decoded and not yet read
	err     error
}

// Read reads decoded content.
func (c *contentReader) Read(p []byte) (int, error) {
	for len(c.out) == 0 && c.err == nil {
		var n int
		n, c.err = c.src.Read(c.in)
		c.out, _ = c.decoder.decode(c.buf[:0], c.in[:n])
		if _, same := c.decoder.(identity); !same {
			c.buf = c.out
		}
	}
	n := copy(p, c.out)
	if c.out = c.out[n:]; len(c.out) > 0 {
		return n, nil
	}
	return n, c.err
}

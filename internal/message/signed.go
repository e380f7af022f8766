package message

import (
	"errors"
	"io"

	"postern/internal/mail"
)

// Signed is content with signatures on top of it, in 7-bit form where it has one, so that
// nothing on its way need change what was signed.
type Signed struct {
	// Fields are the signatures: whole header fields.
	Fields string
	// SevenBit is the content; nil if it stays as it is.
	SevenBit *Converted
	// EightBit says that it stays as it is and has 8-bit octets.
	EightBit bool
	src      io.ReaderAt
	size     int64
}

// Sign puts on top of content what sign returns for it. sign is given the content as it
// will be, once. It fails with the errors of src and of sign.
func Sign(src io.ReaderAt, size int64, sign func(io.Reader) (string, error)) (*Signed, error) {
	s := &Signed{src: src, size: size}
	eightBit, err := hasEightBit(io.NewSectionReader(src, 0, size))
	if err != nil {
		return nil, err
	}
	if eightBit {
		s.SevenBit, err = ToSevenBit(src, size)
		if _, fixed := errors.AsType[*mail.Error](err); err != nil && !fixed {
			return nil, err
		}
		s.EightBit = s.SevenBit == nil
	}
	s.Fields, err = sign(s.content())
	return s, err
}

func hasEightBit(src io.Reader) (bool, error) {
	buf := make([]byte, copyBuffer)
	for {
		n, err := src.Read(buf)
		if HasEightBit(buf[:n]) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func (s *Signed) content() io.Reader {
	if s.SevenBit != nil {
		return s.SevenBit.Reader()
	}
	return io.NewSectionReader(s.src, 0, s.size)
}

// WriteTo writes the signatures and the content.
func (s *Signed) WriteTo(dst io.Writer) (int64, error) {
	n, err := io.WriteString(dst, s.Fields)
	if err != nil {
		return int64(n), err
	}
	m, err := io.Copy(dst, s.content())
	return int64(n) + m, err
}

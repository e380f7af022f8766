package submit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"postern/internal/mail"
)

// A dropped message is a file of one line of JSON, the slip, and the content
// behind it, octet for octet.

// formatVersion is the version of that format.
const formatVersion = 1

// slip is what stands before the content.
type slip struct {
	Version int `json:"postern"`
	// Sender is nil for the owner of the file, "" for the null sender. Like
	// recipients it may lack its domain.
	Sender     *string `json:"sender"`
	FullName   string  `json:"full_name,omitempty"`
	Recipients named   `json:"recipients"`
	Notify     string  `json:"notify,omitempty"`
	Return     string  `json:"return,omitempty"`
	EnvelopeID string  `json:"envelope_id,omitempty"`
	// Size and CRC are those of the content: octets, and CRC32C.
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc32c"`
}

// named are recipients as they are written.
type named []string

// UnmarshalJSON reads no more than may be read: a slip has room for millions of
// names without a letter.
func (n *named) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if begin, err := decoder.Token(); begin != json.Delim('[') {
		return errors.Join(errNoSlip, err)
	}
	for decoder.More() {
		name, err := decoder.Token()
		text, is := name.(string)
		if err != nil || !is || len(*n) >= maxRecipients {
			return errors.Join(errNoSlip, err)
		}
		*n = append(*n, text)
	}
	return nil
}

// maxSlip is the length of the longest slip, in octets: as many recipients as
// the command reads, with the longest addresses.
const maxSlip = 32 << 20

// slipOf writes the slip of a posting.
func slipOf(p *posting) (*slip, error) {
	s := &slip{
		Version: formatVersion, FullName: p.fullName, Notify: p.notify.String(), Return: string(p.ret), EnvelopeID: p.envelopeID,
		Size: p.content.size,
	}
	var sender string
	switch {
	case p.sender != nil:
		sender = p.sender.String()
		s.Sender = &sender
	case p.null:
		s.Sender = &sender
	}
	for _, m := range p.recipients {
		s.Recipients = append(s.Recipients, m.String())
	}
	sum := crc32.New(castagnoli)
	_, err := io.Copy(sum, p.content.raw())
	s.CRC = sum.Sum32()
	return s, err
}

// What is wrong with a file that is no dropped message.
var (
	errNoSlip  = errors.New("it does not begin with a line of JSON of this program")
	errVersion = errors.New("it was written by a newer version of this program")
	errLength  = errors.New("it is not as long as it says it is")
	errDamaged = errors.New("its content is not what was written")
)

// readSlip reads the slip at the front of a file of so many octets, and leaves
// br at the content.
func readSlip(br *bufio.Reader, size int64) (*slip, error) {
	line, err := readLine(br, int(min(size, maxSlip)))
	if err != nil {
		return nil, err
	}
	s := &slip{}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSlip, err)
	}
	switch {
	case s.Version > formatVersion:
		return nil, errVersion
	case s.Version != formatVersion || len(s.Recipients) == 0:
		return nil, errNoSlip
	case size != int64(len(line))+s.Size || s.Size < 0:
		return nil, errLength
	}
	return s, nil
}

// readLine reads a line of at most limit octets, with its end.
func readLine(br *bufio.Reader, limit int) ([]byte, error) {
	line := make([]byte, 0, min(limit, 64<<10))
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return nil, errNoSlip
		case err == nil:
			return line, nil
		case err == io.EOF:
			return nil, errNoSlip
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// posting is what the slip says, checked as the command checks it: whoever
// wrote the file may be nobody's friend.
func (s *slip) posting(user *mail.User) (*posting, error) {
	notify, ok := mail.ParseNotify(s.Notify)
	if s.Notify == "" {
		notify, ok = 0, true
	}
	ret := mail.Return(s.Return)
	if !ok || ret != "" && ret != mail.ReturnFull && ret != mail.ReturnHeaders || len(s.EnvelopeID) > maxEnvelopeID {
		return nil, errNoSlip
	}
	c := &Command{Sender: s.Sender, FullName: s.FullName, EnvelopeID: s.EnvelopeID, Recipients: s.Recipients}
	if err := errors.Join(c.check(), plain("the envelope id", s.EnvelopeID)); err != nil {
		return nil, err
	}
	p, err := (&Client{User: user}).prepare(c)
	if err != nil {
		return nil, err
	}
	p.notify, p.ret = notify, ret
	return p, nil
}

// verify reads content, and fails with errDamaged when it is not what its slip
// says.
func (s *slip) verify(r io.Reader) error {
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, r); err != nil {
		return err
	}
	if sum.Sum32() != s.CRC {
		return errDamaged
	}
	return nil
}

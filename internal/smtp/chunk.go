package smtp

import (
	"strconv"
	"strings"

	"postern/internal/mail"
)

// Chunk is a BDAT command (RFC 3030 2): so many octets of content follow it.
type Chunk struct {
	Size int64
	Last bool // the message ends with it
}

// maxChunkDigits keeps the size in range, and a line short.
const maxChunkDigits = 18

// ParseChunk reads the arguments of BDAT. It fails with 501 5.5.4; then nobody
// knows how many octets of content follow.
func ParseChunk(args string) (Chunk, *mail.Error) {
	words := strings.Fields(args)
	malformed := mail.Refuse(501, "5.5.4", "Syntax: BDAT size [LAST]")
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "LAST") {
		return Chunk{}, malformed
	}
	if len(words[0]) > maxChunkDigits || strings.Trim(words[0], "0123456789") != "" {
		return Chunk{}, malformed
	}
	size, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return Chunk{}, malformed
	}
	return Chunk{Size: size, Last: len(words) == 2}, nil
}

// String returns the command without its line end.
func (c Chunk) String() string {
	command := "BDAT " + strconv.FormatInt(c.Size, 10)
	if c.Last {
		command += " LAST"
	}
	return command
}

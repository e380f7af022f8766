package mailtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// readContent reads a message up to CRLF.CRLF and takes the added dots off,
// as plainly as RFC 5321 4.5.2 says it. A bare CR or LF is left as it is, so
// that a test can see it.
func readContent(br *bufio.Reader) ([]byte, error) {
	var content []byte
	lineStart := true
	for {
		line, err := br.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if lineStart {
			if bytes.Equal(line, []byte(".\r\n")) {
				return content, nil
			}
			line = bytes.TrimPrefix(line, []byte("."))
		}
		content = append(content, line...)
		lineStart = bytes.HasSuffix(content, []byte("\r\n"))
	}
}

// stuff is the opposite of readContent: it adds dots and the end of data. The
// content must end with CRLF, or be empty.
func stuff(content []byte) []byte {
	stuffed := bytes.ReplaceAll(append([]byte("\r\n"), content...), []byte("\r\n."), []byte("\r\n.."))
	return append(stuffed[2:], ".\r\n"...)
}

// readChunk reads the content that belongs to a BDAT command (RFC 3030 2).
func readChunk(br *bufio.Reader, command string) (content []byte, last bool, err error) {
	var size int
	var word string
	if n, err := fmt.Sscanf(command, "BDAT %d %s", &size, &word); n == 0 || size < 0 {
		return nil, false, fmt.Errorf("%q is no BDAT command: %w", command, err)
	}
	content = make([]byte, size)
	_, err = io.ReadFull(br, content)
	return content, word == "LAST", err
}

package cli

import (
	"bytes"
	"os"
	"testing"
)

func TestContentOnATerminal(t *testing.T) {
	var b bytes.Buffer
	if _, err := contentFor(&output{Writer: &b}).Write([]byte("\x1b[31m\r\n")); err != nil || b.String() != "\x1b[31m\r\n" {
		t.Errorf("where no terminal is: %q, %v", b.String(), err)
	}
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if _, ok := contentFor(&output{Writer: device}).(masked); !ok {
		t.Error("on a terminal it is not masked")
	}
	b.Reset()
	text := []byte("Grüße\t\x1b]0;x\x07\r\n\u009b31m\xff\n")
	if n, err := (masked{&b}).Write(text); n != len(text) || err != nil || b.String() != "Grüße    �]0;x�\n�31m�\n" {
		t.Errorf("masked: %q, %d, %v", b.String(), n, err)
	}
}

package charset

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/text/transform"
)

// TestLookup: a name in any case, and what is written for it.
func TestLookup(t *testing.T) {
	for name, want := range map[string]string{
		"ISO-8859-1": "iso-8859-1", "latin1": "iso-8859-1", "utf8": "utf-8", "UTF-8": "utf-8", "ascii": "us-ascii", "cp1252": "windows-1252", "ks_c_5601-1987": "euc-kr", "Big5": "big5",
		"ISO-2022-JP": "iso-2022-jp", "Shift_JIS": "shift_jis", "EUC-KR": "euc-kr", "GB18030": "gb18030", "gb2312": "gb2312",
		"Windows-1252": "windows-1252", "koi8-r": "koi8-r", "utf-16": "utf-16", "hz-gb-2312": "hz-gb-2312", "IBM037": "ibm037",
	} {
		c, known := Lookup(name)
		if !known || c.String() != want || c.IsZero() {
			t.Errorf("%s: %q, known %v; want %q", name, c, known, want)
		}
	}
	for _, name := range []string{"", "x-own", "unknown-8bit", "iso-2022-kr", "replacement"} {
		if c, known := Lookup(name); known || !c.IsZero() {
			t.Errorf("%q is known as %q", name, c)
		}
	}
	one, _ := Lookup("latin1")
	other, _ := Lookup("iso-8859-1")
	third, _ := Lookup("windows-1252")
	if !one.Same(other) || one.Same(third) {
		t.Error("latin1 is not iso-8859-1, or windows-1252 is")
	}
}

// TestForMail: RFC 2046 4.1.2 wants US-ASCII to be itself in it.
func TestForMail(t *testing.T) {
	for _, name := range []string{"us-ascii", "utf-8", "iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r", "big5", "iso-2022-jp", "shift_jis", "euc-jp", "euc-kr", "gb2312", "gbk", "gb18030"} {
		if c, err := ForMail(name); err != nil || c.String() != name {
			t.Errorf("%s: %q, %v", name, c, err)
		}
	}
	for _, name := range []string{"utf-16", "utf-16be", "utf-16le", "hz-gb-2312", "ibm037", "IBM1047"} {
		if _, err := ForMail(name); !errors.Is(err, ErrNotForMail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"x-own", "utf-7", "utf-32"} {
		if _, err := ForMail(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSpecial: what begins other characters in ISO 2022 and HZ (RFC 1468, RFC 1843).
func TestSpecial(t *testing.T) {
	for name, want := range map[string]string{"utf-8": "", "iso-8859-1": "", "shift_jis": "", "iso-2022-jp": shifts, "hz-gb-2312": shifts, "us-ascii": ""} {
		c, _ := Lookup(name)
		if got, all := c.Special(); got != want || all {
			t.Errorf("%s: %q, all %v; want %q", name, got, all, want)
		}
	}
	for _, name := range []string{"utf-16", "IBM037"} {
		c, _ := Lookup(name)
		if _, all := c.Special(); !all {
			t.Errorf("%s has US-ASCII", name)
		}
	}
}

// TestLacking: of what browsers add to a charset nothing is written.
func TestLacking(t *testing.T) {
	for name, c := range map[string]struct{ has, lacks string }{
		"us-ascii":     {"a~\x1b", "é€"},
		"iso-8859-1":   {"aé", "€中\ufffd"},
		"windows-1252": {"aé€", "中"},
		"iso-8859-15":  {"a€", "¤"},
		"iso-2022-jp":  {"aあ漢", "ｱ가é"},
		"shift_jis":    {"aあｱ漢", "가"},
		"euc-kr":       {"a가漢", "갂é"},
		"gb2312":       {"a中あ", "漢€丂"},
		"gbk":          {"a中漢", "𠀀"},
		"gb18030":      {"a中漢é€𠀀가", "\ufffd"},
		"utf-8":        {"aé𠀀", "\ufffd"},
		"big5":         {"a中漢　", "𠀀\u0080あп€"},
	} {
		charset, err := ForMail(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if r, lacks := charset.Lacking([]byte(c.has)); lacks {
			t.Errorf("%s lacks %q", name, r)
		}
		for _, want := range c.lacks {
			if r, lacks := charset.Lacking([]byte(c.has + string(want) + c.lacks)); !lacks || r != want {
				t.Errorf("%s has %q, and lacks %q", name, want, r)
			}
		}
	}
}

// TestRoundTrip: through buffers of every size, and with a byte order mark (RFC 3629 6).
func TestRoundTrip(t *testing.T) {
	for name, text := range map[string]string{"iso-2022-jp": "ascii あ漢\r\nx", "euc-kr": "a가漢", "gb2312": "a中あ", "gb18030": "é中𠀀", "utf-8": "aé𠀀", "big5": "a中漢"} {
		c, _ := Lookup(name)
		long := strings.Repeat(text, 3000)
		encoded, err := io.ReadAll(transform.NewReader(strings.NewReader(long), c.NewEncoder()))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		decoded, err := io.ReadAll(transform.NewReader(strings.NewReader(string(encoded)), c.NewDecoder()))
		if err != nil || string(decoded) != long {
			t.Errorf("%s: %d octets became %d, %v", name, len(long), len(decoded), err)
		}
	}
	utf8, _ := Lookup("utf-8")
	if got, _, _ := transform.String(utf8.NewDecoder(), "\ufeffa\ufeff"); got != "a\ufeff" {
		t.Errorf("%q", got)
	}
}

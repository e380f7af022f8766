package message

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

// read splits s into the header and the octets that follow it.
func read(t testing.TB, s string) (*Header, string) {
	t.Helper()
	br := bufio.NewReaderSize(strings.NewReader(s), 1024)
	h, err := ReadHeader(br, Limits{})
	if err != nil {
		t.Fatalf("ReadHeader(%q): %v", s, err)
	}
	rest, err := io.ReadAll(br)
	if err != nil {
		t.Fatal(err)
	}
	return h, string(rest)
}

func names(h *Header) []string {
	var names []string
	for f := range h.Fields() {
		names = append(names, f.Name())
	}
	return names
}

func TestReadHeader(t *testing.T) {
	long := strings.Repeat("n", maxName)
	tests := []struct {
		name, in string
		fields   []string
		out      string // header as written; in less rest when empty
		rest     string
	}{
		{name: "usual", in: "From: a\r\nTo: b\r\n\r\nbody\r\n", fields: []string{"From", "To"}, rest: "body\r\n"},
		{name: "folded", in: "A: b\r\n\tc\r\n d\r\nE: f\r\n\r\n", fields: []string{"A", "E"}},
		{name: "folded line of white space", in: "A: b\r\n \r\n\t\r\nE: f\r\n\r\nx", fields: []string{"A", "E"}, rest: "x"},
		{name: "no value", in: "A:\r\nB:x\r\n\r\n", fields: []string{"A", "B"}},
		{name: "space before colon", in: "A \t: b\r\nC: d\r\n\r\n", fields: []string{"A", "C"}},
		{name: "odd name", in: "x!{}@/\": b\r\n\r\n", fields: []string{`x!{}@/"`}},
		{name: "8-bit value", in: "A: \xff\r\n\r\n", fields: []string{"A"}},
		{name: "8-bit name", in: "A: b\r\nn\xc3\xa4me: x\r\n", fields: []string{"A"}, out: "A: b\r\n\r\n", rest: "n\xc3\xa4me: x\r\n"},
		{name: "no colon", in: "A: b\r\nhello\r\nC: d\r\n\r\n", fields: []string{"A"}, out: "A: b\r\n\r\n", rest: "hello\r\nC: d\r\n\r\n"},
		{name: "space in name", in: "A: b\r\nC d: e\r\n", fields: []string{"A"}, out: "A: b\r\n\r\n", rest: "C d: e\r\n"},
		{name: "mbox line", in: "From joe Mon Jan 1 10:00:00 2024\r\nA: b\r\n", out: "\r\n", rest: "From joe Mon Jan 1 10:00:00 2024\r\nA: b\r\n"},
		{name: "colon first", in: ": b\r\n", out: "\r\n", rest: ": b\r\n"},
		{name: "control in name", in: "A\x00: b\r\n", out: "\r\n", rest: "A\x00: b\r\n"},
		{name: "folded with nothing before", in: " A: b\r\nC: d\r\n", out: "\r\n", rest: " A: b\r\nC: d\r\n"},
		{name: "no header", in: "\r\nbody", rest: "body"},
		{name: "empty"},
		{name: "ends in header", in: "A: b\r\n", fields: []string{"A"}},
		{name: "ends in line", in: "A: b", fields: []string{"A"}, out: "A: b\r\n"},
		{name: "ends in CR", in: "A: b\r", fields: []string{"A"}, out: "A: b\r\n"},
		{name: "ends in name", in: "A: b\r\nC", fields: []string{"A"}, out: "A: b\r\n\r\n", rest: "C"},
		{name: "lone CR line", in: "A: b\r\n\rC: d\r\n", fields: []string{"A"}, out: "A: b\r\n\r\n", rest: "\rC: d\r\n"},
		{name: "line feeds", in: "A: b\nC: d\n\nbody", fields: []string{"A", "C"}, out: "A: b\nC: d\n\r\n", rest: "body"},
		{name: "longest name", in: long + ": b\r\n\r\n", fields: []string{long}},
		{name: "name too long", in: long + "n: b\r\n\r\n", out: "\r\n", rest: long + "n: b\r\n\r\n"},
		{name: "line longer than the buffer", in: "A: " + strings.Repeat("x", 5000) + "\r\nB: c\r\n\r\nd", fields: []string{"A", "B"}, rest: "d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, rest := read(t, tt.in)
			if diff := cmp.Diff(tt.fields, names(h)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			want := tt.out
			if want == "" {
				want = strings.TrimSuffix(tt.in, tt.rest)
			}
			if got := string(h.AppendTo(nil)); got != want {
				t.Errorf("header written: %q, want %q", got, want)
			}
			if rest != tt.rest {
				t.Errorf("rest: %q, want %q", rest, tt.rest)
			}
		})
	}
}

// TestReadHeaderInPieces feeds the header octet by octet: what a line is must
// not depend on how much of it has come.
func TestReadHeaderInPieces(t *testing.T) {
	const in = "Subject : x\r\n folded\r\nNo-Space:y\r\n\r\nbody"
	br := bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(in)), 1024)
	h, err := ReadHeader(br, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(br)
	if got := string(h.AppendTo(nil)) + string(rest); got != in {
		t.Errorf("got %q, want %q", got, in)
	}
}

func TestReadHeaderLimits(t *testing.T) {
	limits := Limits{Octets: 40, Fields: 3, FieldOctets: 20}
	tests := []struct {
		name, in string
		reply    string // "" when within the limits
		fields   []string
	}{
		{"at all limits", "A: 345678901234\r\n \r\nB: c\r\nC: d45678901\r\n\r\n", "", []string{"A", "B", "C"}},
		{"field", "A: b\r\nC: 345678901234567890\r\n\r\n", "552 5.3.4", []string{"A"}},
		{"folded field", "A: b\r\nC: d\r\n 34567890\r\n e\r\n\r\n", "552 5.3.4", []string{"A"}},
		{"fields", "A: b\r\nB: c\r\nC: d\r\nD: e\r\n\r\n", "550 5.6.0", []string{"A", "B", "C"}},
		{"octets", "A: 345678901234567\r\nB: 345678901234567\r\nC: d\r\n\r\n", "552 5.3.4", []string{"A", "B"}},
		{"endless line", "A: " + strings.Repeat("x", 1<<20), "552 5.3.4", nil},
		{"long body", "A: b\r\n\r\n" + strings.Repeat("x", 100), "", []string{"A"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ReadHeader(bufio.NewReaderSize(strings.NewReader(tt.in), 1024), limits)
			if tt.reply == "" {
				if err != nil {
					t.Errorf("error %v, want none", err)
				}
			} else if refused, ok := errors.AsType[*mail.Error](err); !ok || !strings.HasPrefix(refused.Reply.String(), tt.reply) {
				t.Errorf("error %v, want a reply %s", err, tt.reply)
			}
			if diff := cmp.Diff(tt.fields, names(h)); diff != "" {
				t.Errorf("fields before the error (-want +got):\n%s", diff)
			}
			if got, limit := cap(h.buf), 16<<10; got > limit {
				t.Errorf("%d octets held, want at most %d", got, limit)
			}
		})
	}
}

func TestReadHeaderError(t *testing.T) {
	gone := errors.New("gone")
	for _, in := range []string{"", "A", "A: b", "A: b\r\n", "A: b\r\nC", "A: b\r\n\r"} {
		src := io.MultiReader(strings.NewReader(in), iotest.ErrReader(gone))
		if _, err := ReadHeader(bufio.NewReader(src), Limits{}); err != gone {
			t.Errorf("after %q: error %v, want that of the reader", in, err)
		}
	}
}

func TestHeaderLookUp(t *testing.T) {
	h, _ := read(t, "Received: one\r\nSUBJECT:  a\r\n\tb \r\nreceived: two\r\nEmpty:\r\nOld : x:y\r\n\r\n")
	if got := slices.Collect(h.Values("Received")); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("Values: %q", got)
	}
	if got := h.Count("RECEIVED"); got != 2 {
		t.Errorf("Count: %d, want 2", got)
	}
	if got := h.Len(); got != 5 {
		t.Errorf("Len: %d, want 5", got)
	}
	for name, want := range map[string]string{"Subject": "a\tb", "Empty": "", "Old": "x:y", "Received": "one"} {
		if got, ok := h.First(name); got != want || !ok || !h.Has(name) {
			t.Errorf("First(%q): %q, %v; Has: %v", name, got, ok, h.Has(name))
		}
	}
	if got, ok := h.First("Receive"); ok || h.Has("Receive") || h.Count("Receive") != 0 {
		t.Errorf("a prefix of a name was found: %q", got)
	}
}

func TestHeaderChange(t *testing.T) {
	h, _ := read(t, "A: 1\r\nBcc: x\r\n y\r\nB: 2\r\nbcc: z\r\n\r\n")
	if got := h.Delete("BCC", "none"); got != 2 {
		t.Errorf("Delete: %d, want 2", got)
	}
	top, err := ParseField("Top: t\r\n\tu\r\n")
	if err != nil {
		t.Fatal(err)
	}
	h.Prepend(top)
	h.Append(newField("Last", "l"))
	if got, want := string(h.AppendTo(nil)), "Top: t\r\n\tu\r\nA: 1\r\nB: 2\r\nLast: l\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(h.AppendFields(nil)), "Top: t\r\n\tu\r\nA: 1\r\nB: 2\r\nLast: l\r\n"; got != want {
		t.Errorf("fields: %q, want %q", got, want)
	}
	if h.EightBit() {
		t.Error("EightBit: true for US-ASCII")
	}
	h.Append(newField("Name", "ü"))
	if !h.EightBit() {
		t.Error("EightBit: false with an ü")
	}
}

func TestParseField(t *testing.T) {
	for _, s := range []string{"A: b\r\n", "A:\r\n", "A : b\r\n", "A: b\r\n c\r\n\td\r\n"} {
		if f, err := ParseField(s); err != nil || f.Name() != "A" {
			t.Errorf("ParseField(%q): %q, %v", s, f.Name(), err)
		}
	}
	for _, s := range []string{
		"", "A", "A: b", "A: b\n", "A: b\r", "A: b\r\nC: d\r\n", "A: b\r\n\r\n", "\r\n", " A: b\r\n",
		"A: b\rC: d\r\n", "A: b\nC: d\r\n", "A: b\r\n c", "no colon\r\n", ": b\r\n",
	} {
		if _, err := ParseField(s); !errors.Is(err, ErrField) {
			t.Errorf("ParseField(%q): error %v, want ErrField", s, err)
		}
	}
}

// FuzzHeader holds ReadHeader to its promise: header and rest give the octets
// that were read, but for the two repairs; and the limits bound what it keeps.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"From: a\r\nTo: b\r\n c\r\n\r\nbody\r\n", "A: b", "A: b\r", "A: b\r\nno colon\r\n", " x", "\r\n", "\n", "",
		"A :b\nC\xff: d\n\n", "A: b\r\n\r\r\n", strings.Repeat("A: b\r\n", 50), strings.Repeat("n", 1100) + ": x",
	} {
		f.Add([]byte(s))
	}
	limits := Limits{Octets: 2000, Fields: 40, FieldOctets: 500}
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReaderSize(strings.NewReader(string(in)), 1024)
		h, err := ReadHeader(br, limits)
		if got := len(h.AppendFields(nil)); got > limits.Octets+2 || h.Len() > limits.Fields {
			t.Fatalf("kept %d octets in %d fields", got, h.Len())
		}
		for field := range h.Fields() {
			if len(field.Name()) == 0 || !h.Has(field.Name()) || strings.Contains(field.Value(), "\n") {
				t.Errorf("field %q: name %q, value %q", field.raw, field.Name(), field.Value())
			}
		}
		if err != nil {
			if _, ok := errors.AsType[*mail.Error](err); !ok {
				t.Errorf("error without a reply: %v", err)
			}
			return
		}
		rest, _ := io.ReadAll(br)
		fields := string(h.AppendFields(nil))
		for _, whole := range []string{
			fields + "\r\n" + string(rest), fields + "\n" + string(rest), fields + string(rest),
			strings.TrimSuffix(fields, "\r\n"), strings.TrimSuffix(fields, "\n"),
		} {
			if whole == string(in) {
				return
			}
		}
		t.Errorf("read %q, wrote %q and %q", in, fields, rest)
	})
}

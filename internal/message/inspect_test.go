package message

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// nasty is a message, and what must be said of it.
type nasty struct {
	name    string
	in      string // with LF for CRLF
	types   string // of all parts, each once
	names   string // with | between them
	defects []Defect
}

// inspect inspects a message, and checks what holds for any.
func inspect(t testing.TB, content string) *Inspection {
	t.Helper()
	got, err := Inspect(iotest.HalfReader(strings.NewReader(content)), InspectLimits{})
	if err != nil {
		t.Fatalf("%q: %v", content, err)
	}
	if most := maxWork * int64(len(content)); got.Looked > most {
		t.Errorf("%.200q: looked at %d octets of %d", content, got.Looked, len(content))
	}
	return got
}

// maxWork is how often an octet may be looked at.
const maxWork = 20

func (n *nasty) check(t *testing.T) {
	got := inspect(t, crlf(n.in))
	if types := strings.Join(got.Types(), " "); types != n.types {
		t.Errorf("types %q, want %q", types, n.types)
	}
	names, want := got.Names(), strings.Split(n.names, "|")
	slices.Sort(names)
	slices.Sort(want)
	if strings.Join(names, "|") != strings.Join(want, "|") {
		t.Errorf("names %q, want %q", names, want)
	}
	var defects []Defect
	for _, d := range got.Defects {
		if !slices.Contains(defects, d.Defect) {
			defects = append(defects, d.Defect)
		}
	}
	slices.Sort(defects)
	slices.Sort(n.defects)
	if diff := cmp.Diff(n.defects, defects); diff != "" {
		t.Errorf("defects (-want +got):\n%s", diff)
	}
}

var nastyGroups = [][]nasty{nastyTypes, nastyNames, nastyContinuations, nastyBoundaries, nastyHeaders, nastyContent}

func TestInspect(t *testing.T) {
	for _, group := range nastyGroups {
		for _, n := range group {
			t.Run(n.name, n.check)
		}
	}
}

func TestInspectHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		in             string
		subjects, from []string
		sender         []string
		defects        []Defect
	}{
		"plain":               {in: "Subject: a b\nFrom: Joe <joe@x.example>\nSender: ann@x.example\n", subjects: []string{"a b"}, from: []string{"joe@x.example"}, sender: []string{"ann@x.example"}},
		"none":                {in: "To: x\n"},
		"folded":              {in: "Subject: a\n b\nFrom: joe\n @x.example\n", subjects: []string{"a b"}, from: []string{"joe@x.example"}},
		"words":               {in: "Subject: =?utf-8?q?a_=C3=A4?= =?UTF-8?B?w7Y=?= c\n", subjects: []string{"a äö c"}},
		"a character in two":  {in: "Subject: =?utf-8?b?w4E=?= =?utf-8?q?=C3?=\n =?utf-8?q?=A4?=\n", subjects: []string{"Áä"}},
		"8-bit":               {in: "Subject: \xc3\xa4\n", subjects: []string{"ä"}},
		"Latin-1":             {in: "Subject: \xe4\n", subjects: []string{"ä"}, defects: []Defect{DefectSubject}},
		"unknown charset":     {in: "Subject: =?x-mine?q?abc?=\n", subjects: []string{"abc"}, defects: []Defect{DefectSubject}},
		"UTF-7":               {in: "Subject: =?utf-7?q?+AGE-?=\n", subjects: []string{"+AGE-"}, defects: []Defect{DefectSubject}},
		"bad base64":          {in: "Subject: =?utf-8?b?@@?=\n", subjects: []string{"=?utf-8?b?@@?="}, defects: []Defect{DefectSubject}},
		"no end":              {in: "Subject: =?utf-8?q?free\n", subjects: []string{"=?utf-8?q?free"}, defects: []Defect{DefectSubject}},
		"within a word":       {in: "Subject: vi=?utf-8?q?ag?=ra\n", subjects: []string{"viagra"}},
		"twice":               {in: "Subject: a\nSubject: b\n", subjects: []string{"a", "b"}, defects: []Defect{DefectDuplicate}},
		"two authors":         {in: "From: a@x.example, \"B, C\" <b@x.example>\n", from: []string{"a@x.example", "b@x.example"}},
		"group":               {in: "From: Team: a@x.example, b@x.example;\n", from: []string{"a@x.example", "b@x.example"}},
		"comments":            {in: "From: (x@y) joe(c)@(d (e))x.example (f)\n", from: []string{"joe@x.example"}},
		"quoted":              {in: "From: \"a b\"@x.example, \"joe\"@x.example\n", from: []string{`"a b"@x.example`, "joe@x.example"}},
		"address in the name": {in: "From: \"boss@x.example\" <joe@evil.example>\n", from: []string{"joe@evil.example"}},
		"encoded name":        {in: "From: =?utf-8?b?Ym9zc0B4LmV4YW1wbGU=?= <joe@evil.example>\n", from: []string{"joe@evil.example"}},
		"encoded address":     {in: "From: =?utf-8?q?boss=40x.example?=@evil.example\n", from: []string{"=?utf-8?q?boss=40x.example?=@evil.example"}, defects: []Defect{DefectAddress}},
		"two in brackets":     {in: "From: <a@x.example> <b@x.example>\n", from: []string{"a@x.example"}, defects: []Defect{DefectAddress}},
		"From twice":          {in: "From: a@x.example\nFrom: b@x.example\n", from: []string{"a@x.example", "b@x.example"}, defects: []Defect{DefectDuplicate}},
		"no domain":           {in: "From: root\n", from: []string{"root"}},
		"route":               {in: "From: <@r.example:joe@x.example>\n", from: []string{"joe@x.example"}},
		"NUL":                 {in: "From: joe\x00@x.example\n", defects: []Defect{DefectAddress}},
	} {
		t.Run(name, func(t *testing.T) {
			got := inspect(t, crlf(tt.in+"\n"))
			var defects []Defect
			for _, d := range got.Defects {
				defects = append(defects, d.Defect)
			}
			if diff := cmp.Diff([]any{tt.subjects, tt.from, tt.sender, tt.defects}, []any{got.Subjects, got.From, got.Sender, defects}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestInspectLimits(t *testing.T) {
	parts := crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n")
	for name, tt := range map[string]struct {
		limits InspectLimits
		parts  int
		defect Defect // "" when within the limits
	}{
		"none":   {InspectLimits{}, 3, ""},
		"at all": {InspectLimits{Octets: int64(len(parts)), Depth: 1, Parts: 3}, 3, ""},
		"octets": {InspectLimits{Octets: int64(len(parts)) - 1}, 3, DefectSize},
		"depth":  {InspectLimits{Depth: -1}, 0, DefectDepth},
		"parts":  {InspectLimits{Parts: 2}, 2, DefectParts},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Inspect(strings.NewReader(parts), tt.limits)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Parts) != tt.parts {
				t.Errorf("%d parts, want %d", len(got.Parts), tt.parts)
			}
			if !got.Readable() != (tt.defect != "") || tt.defect != "" && got.Defects[0].Defect != tt.defect {
				t.Errorf("defects %v, want %q", got.Defects, tt.defect)
			}
		})
	}
}

func TestInspectBrokenSource(t *testing.T) {
	broken := errors.New("broken")
	for _, before := range []string{"", "A: b\r\n", "A: b\r\n\r\nx", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", "Content-Type: message/rfc822\r\n\r\n"} {
		src := iotest.DataErrReader(strings.NewReader(before))
		if _, err := Inspect(&thenFail{src, broken}, InspectLimits{}); !errors.Is(err, broken) {
			t.Errorf("%q: %v", before, err)
		}
	}
}

// thenFail fails where the source ends.
type thenFail struct {
	src interface{ Read([]byte) (int, error) }
	err error
}

func (f *thenFail) Read(p []byte) (int, error) {
	n, err := f.src.Read(p)
	if err != nil {
		err = f.err
	}
	return n, err
}

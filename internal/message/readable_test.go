package message

import (
	"strings"
	"testing"
)

// TestAuthor: one From field with one address has an author, and nothing else.
func TestAuthor(t *testing.T) {
	for _, c := range []struct{ header, want string }{
		{"From: joe@example.com", "joe@example.com"},
		{"From: Joe <joe@example.com> (at work)", "joe@example.com"},
		{"From: =?utf-8?q?J=C3=B6?= <joe@example.com>", "joe@example.com"},
		{"From: \"a, b: c;\" <\"joe doe\"@example.com>", `"joe doe"@example.com`},
		{"From: \"j\".o@example.com", ""},
		{"Subject: =?x-none?q?a?=\nFrom: joe@example.com", "joe@example.com"},
		{"Sender: ann@example.org\nFrom: joe@example.com", "joe@example.com"},
		{"Subject: none", ""},
		{"From:", ""},
		{"From: joe", ""},
		{"From: joe@example.com, ann@example.com", ""},
		{"From: joe@example.com,", ""},
		{"From: joe@example.com; ann@example.com", ""},
		{"From: team: joe@example.com;", ""},
		{"From: nobody:;", ""},
		{"From: nobody:; joe@example.com", ""},
		{"From: <@a.example:joe@example.com>", ""},
		{"From: <joe@example.com> <ann@example.org>", ""},
		{"From: joe@example.com <ann@example.org>", ""},
		{"From: \"joe@example.com\" <ann@example.org>", "ann@example.org"},
		{"From: =?utf-8?q?joe?=@example.com", ""},
		{"From: joe@example.com\nFrom: joe@example.com", ""},
		{"From: joe@example.com\nfrom : ann@example.org", ""},
		{"From: (joe@example.com", ""},
		{"From: joe@example.com\nSender: <a@x> <b@y>", ""},
		{"From joe Mon Jan  1 10:00:00 2024\nFrom: joe@example.com", ""},
	} {
		i, err := Inspect(strings.NewReader(strings.ReplaceAll(c.header+"\n\nx\n", "\n", "\r\n")), InspectLimits{})
		if err != nil {
			t.Fatal(err)
		}
		author, ok := i.Author()
		if author.String() != c.want || ok != (c.want != "") {
			t.Errorf("%q: %q %v, want %q; %v", c.header, author, ok, c.want, i.Defects)
		}
	}
}

// TestReadable: which defects leave what uncertain.
func TestReadable(t *testing.T) {
	for _, c := range []struct {
		defects       []PartDefect
		header, parts bool
	}{
		{nil, true, true},
		{[]PartDefect{{"1", DefectSubject}}, false, true},
		{[]PartDefect{{"1", DefectAddress}}, false, true},
		{[]PartDefect{{"1", DefectDuplicate}}, false, false},
		{[]PartDefect{{"1.2", DefectDuplicate}}, true, false},
		{[]PartDefect{{"1", DefectLineEnd}}, false, false},
		{[]PartDefect{{"1.1", DefectLineEnd}}, true, false},
		{[]PartDefect{{"1", DefectOpaque}}, true, false},
		{[]PartDefect{{"1", DefectSubject}, {"1.1", DefectName}}, false, false},
		{make([]PartDefect, maxDefects), false, false}, // there may be more
	} {
		i := Inspection{Defects: c.defects}
		if i.ReadableHeader() != c.header || i.ReadableParts() != c.parts {
			t.Errorf("%v: header %v, parts %v", c.defects, i.ReadableHeader(), i.ReadableParts())
		}
	}
}

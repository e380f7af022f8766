package submit

import (
	"errors"
	"io"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/message"
)

func parts(t *testing.T, lines string) parted {
	t.Helper()
	m, err := part(strings.NewReader(strings.ReplaceAll(lines, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestHeaderRecipients(t *testing.T) {
	for header, want := range map[string]string{
		"To: a@x\nCc: b@x, c@x\nBCC: d@x\nFrom: e@x\nReply-To: f@x\n\nTo: g@x\n": "a@x b@x c@x d@x",
		"To: a@x\nTo: b@x\n":                              "a@x b@x",
		"To: a@x,\n\tb@x (not c@x),\n  \"d@x\" <e@x>\n\n": "a@x b@x e@x",
		"To: a@x\nResent-To: b@x\nResent-Bcc: c@x\n\n":    "b@x c@x",
		"To: a@x\nResent-From: b@x\n\n":                   "a@x",
		"To: undisclosed-recipients:;\n\n":                "",
		"Subject: x\n\n":                                  "",
		"no header\nTo: a@x\n":                            "",
		"Apparently-To: a@x\n\n":                          "",
	} {
		list, err := headerRecipients(parts(t, header).header)
		var got []string
		for _, m := range list {
			got = append(got, m.String())
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", header, got, err, want)
		}
	}
}

func TestHeaderRecipientsAreBounded(t *testing.T) {
	var h message.Header
	for range 11 {
		f, err := message.ParseField("To: " + strings.Repeat("a,", maxRecipients/10) + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		h.Append(f)
	}
	if list, err := headerRecipients(&h); !errors.Is(err, message.ErrManyMailboxes) {
		t.Errorf("%d, %v", len(list), err)
	}
	_, err := part(strings.NewReader("To: " + strings.Repeat("a@x.example,", 1<<20) + "\r\n"))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != DataErr {
		t.Errorf("a header that is too large: %v", err)
	}
}

// TestComplete: addresses without a domain get that of the host (RFC 6409 4.2), and the
// message gets a From field (RFC 6409 8.1).
func TestComplete(t *testing.T) {
	joe := author{address: mail.Address{Local: "joe", Domain: "gate.example"}, name: "Joe"}
	for _, c := range []struct{ in, want string }{
		{"Subject: x\n\nbody\n", "Subject: x\nFrom: \"Joe\" <joe@gate.example>\n\nbody\n"},
		{"From: a@x\n\nbody\n", "From: a@x\n\nbody\n"},
		{"from: a@x\n\n", "from: a@x\n\n"},
		{"From: root (Cron Daemon)\nTo: root, b@x, <joe>\n\n", "From: root@gate.example (Cron Daemon)\nTo: root@gate.example, b@x, <joe@gate.example>\n\n"},
		{"From: a@x\nCc:  b,\n\tB <c> (d)\n\n", "From: a@x\nCc:  b@gate.example,\n\tB <c@gate.example> (d)\n\n"},
		{"From: a@x\nTo: two words, c\n\n", "From: a@x\nTo: two words, c\n\n"},
		{"From: a@x\nSubject: root\n\n", "From: a@x\nSubject: root\n\n"},
		{"just text\n", "From: \"Joe\" <joe@gate.example>\n\njust text\n"},
		{"", "From: \"Joe\" <joe@gate.example>\n\n"},
	} {
		m := parts(t, c.in)
		var err error
		m.header, err = complete(m.header, "gate.example", joe)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(m.reader())
		if want := strings.ReplaceAll(c.want, "\n", "\r\n"); string(got) != want || err != nil {
			t.Errorf("%q:\n%q, %v, want\n%q", c.in, got, err, want)
		}
	}
}

// TestFromField: a name cannot break out of the field.
func TestFromField(t *testing.T) {
	address := mail.Address{Local: "joe", Domain: "x.example"}
	for name, want := range map[string]string{
		"":                          "From: joe@x.example\r\n",
		"Joe Q. Public":             "From: \"Joe Q. Public\" <joe@x.example>\r\n",
		`x" <eve@x>, "`:             "From: \"x\\\" <eve@x>, \\\"\" <joe@x.example>\r\n",
		"Jörg":                      "From: =?utf-8?q?J=C3=B6rg?= <joe@x.example>\r\n",
		"Joe\r\nBcc: eve@x.example": "From: =?utf-8?b?Sm9lDQpCY2M6IGV2ZUB4LmV4YW1wbGU=?= <joe@x.example>\r\n",
	} {
		f, err := fromField(author{address: address, name: name})
		if err != nil || f.String() != want {
			t.Errorf("%q: %q, %v; want %q", name, f.String(), err, want)
		}
	}
}

func TestBccIsHidden(t *testing.T) {
	m := parts(t, "To: a@x\nBcc: b@x,\n c@x\nbcc: d@x\nResent-Bcc: e@x\n\nBcc: text\n")
	hideBcc(m.header)
	got, err := io.ReadAll(m.reader())
	if string(got) != "To: a@x\r\n\r\nBcc: text\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFullName(t *testing.T) {
	for listed, want := range map[string]string{
		"":                    "",
		"Joe Public":          "Joe Public",
		"Joe Public,Room 1,,": "Joe Public",
		"& Public":            "Joe Public",
		"Joe\x1bPublic":       "",
		"J\xf6rg":             "",
	} {
		if got := fullName(listed, "joe"); got != want {
			t.Errorf("%q: %q, want %q", listed, got, want)
		}
	}
	if got := fullName("& Public", ""); got != "& Public" {
		t.Errorf("without a login name: %q", got)
	}
	if u, _ := lookup(1<<32 - 7); u.Name != "" || u.UID != 1<<32-7 {
		t.Errorf("a user without a name: %+v", u)
	}
	if IsUser("no-such-user-here") || !IsUser("root") {
		t.Error("who is a user")
	}
}

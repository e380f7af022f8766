package policytest

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/explain"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/policy"
)

const rules = `version = 1
hostname = "gate.example"
postmaster = "admin@example.com"
data_dir = "/var/lib/postern"
[[listener]]
address = "192.0.2.1:2525"
[[handler]]
name = "not-now"
at = "rcpt"
recipient = ["later@*"]
steps = [{ defer = "Come later" }]
[[handler]]
name = "no"
at = "rcpt"
recipient = ["no@*"]
steps = [{ reject = "553 5.1.3 Not him" }]
[[handler]]
name = "all"
at = "rcpt"
recipient = ["all@*"]
steps = [{ redirect = "new@y.example" }, { route_via = "r.example" }, "require_tls", { rewrite_sender = "<>" }, { tag = "t" }, { copy_to = "c@z.example" }, { add_header = "X-A: gr\u00fc\u00dfe" }, { remove_header = "X-Old" }]
[[handler]]
name = "keep"
at = "rcpt"
recipient = ["keep@*"]
steps = ["hold"]
[[handler]]
name = "judge"
at = "rcpt"
recipient = ["judge@*"]
steps = ["quarantine"]
[[handler]]
name = "drop"
at = "rcpt"
recipient = ["drop@*"]
steps = ["discard"]
`

// several is a directory in which one address stands for two.
func several(t *testing.T) *directory.Directory {
	t.Helper()
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir(), Clock: mail.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	err = d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		return errors.Join(tx.PutDomain(directory.Domain{Name: "gate.example"}),
			tx.PutAlias(directory.Alias{Address: "several@gate.example", Targets: []string{"one@home.example", "two@home.example"}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func server(t *testing.T) *explain.Server {
	t.Helper()
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(rules)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	local := &intake.Local{Names: []string{"gate.example"}, Postmaster: c.Postmaster, Directory: several(t)}
	e, problems := policy.Compile(policy.Options{Config: c, Local: local.Is})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return &explain.Server{Engine: e, Door: intake.Options{Hostname: "gate.example", Local: local, MaxHops: 100}, Listeners: c.Listeners,
		Route: func(_ mail.Address, d mail.Destination) string { return "to " + string(d) }}
}

// TestForms: each form is met by what it says, and by nothing else.
func TestForms(t *testing.T) {
	s := server(t)
	met := map[string]string{ // by expectation, the recipients for whom it is met
		"accept": "all keep judge drop plain several", "reject": "no nobody", "defer": "later", "reject 553": "no", "553 5.1.3": "no", "553 5.1.3 Not him": "no",
		"550": "nobody", "450 4.7.1": "later", "defer 450": "later", "queued": "all plain", "held": "keep judge", "quarantined": "judge", "discarded": "drop",
		"redirected to new@y.example": "all", "expanded to two@home.example": "several", "route r.example:25": "all", "tls required": "all", "sender <>": "all", "sender joe@a.example": "keep judge drop plain several",
		"tag t": "all", "copy to c@z.example": "all", "header X-A = gr\u00fc\u00dfe": "all", "header X-Old = 1": "keep judge plain", "by keep": "keep", "by no": "no",
	}
	for text, who := range met {
		e, _, err := parseExpectation(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, name := range strings.Fields("all keep judge drop plain no nobody later several") {
			domain := "x.example"
			if name == "nobody" || name == "several" {
				domain = "gate.example"
			}
			m := &explain.Mail{Client: netip.MustParseAddrPort("127.0.0.1:4025"), From: address(t, "joe@a.example"),
				To: []mail.Address{address(t, name+"@"+domain)}, Content: []byte("X-Old: 1\n\nx\n")}
			r, err := s.Walk(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Contains(" "+who+" ", " "+name+" ")
			if got := e.met(r, &r.Recipients[0]); got != want {
				t.Errorf("%s of %s: %t (%s)", text, name, got, e.happened(&r.Recipients[0]))
			}
		}
	}
	for i := range forms {
		if f := &forms[i]; f.word != "no header" && !strings.Contains(fmt.Sprint(met), f.word) {
			t.Errorf("%s is not tried", f.word)
		}
	}
}

func address(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := explain.ParseTo(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNoHeader(t *testing.T) {
	e, _, err := parseExpectation("no header X-Old")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"all": true, "keep": false, "no": false} {
		r, err := server(t).Walk(t.Context(), &explain.Mail{Client: netip.MustParseAddrPort("127.0.0.1:4025"), To: []mail.Address{address(t, name+"@x.example")}, Content: []byte("X-Old: 1\n\nx\n")})
		if err != nil {
			t.Fatal(err)
		}
		if e.met(r, &r.Recipients[0]) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

// TestExpectationsThatAreNone are refused, with what would be right.
func TestExpectationsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "nothing that can be expected", "250": "nothing that can be expected", "reject 450": "with 500", "defer 550 5.7.1": "with 400",
		"reject soon": "no reply", "550 5.7": "no reply", "held for long": "stands behind held", "redirected to": "needs an address", "redirected to joe": "domain",
		"tls often": "required or verify", "header X-A": "Name = text", "header = x": "Name = text", "tag": "needs a word", "a@b@: held": "malformed",
	} {
		_, hint, err := parseExpectation(text)
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "address") || hint == "" && want != "malformed" {
			t.Errorf("%q: %v (%s), want %q", text, err, hint, want)
		}
	}
}

// TestMistakes: what is wrong in a file has its place.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "f:1:1: has no [[case]]"},
		{"from = 'x'\n", "f:1:1: from stands in no table (write [[case]] before it)"},
		{"[case]\n", "f:1:2: there are no tables case here (write [[case]])"},
		{"[[cases]]\nname = 'x'\n", "f:1:3: there are no tables cases here (write [[case]])"},
		{"[[case]]\nfrom = 'a@b.example'\nfrom = 'a@b.example'\n", "f:3:1: from is set again; it was set in line 2 (keep one of them)"},
		{"[[case]]\nfrom = 3\nto = 'a@b.example'\nexpect = 'held'\n", "f:2:8: case.from: is not text"},
		{"[[case]]\nfrom = ''\nto = []\nexpect = 'held'\n", "f:3:6: case.to: has no text"},
		{"[[case]]\nfrom = ''\nto = ['a@b.example', 3]\nexpect = 'held'\n", "f:3:22: case.to: is not text"},
		{"[[case]]\nfrom = ''\nto = 'a@b.example'\nexpect = 'held'\nclient = 'x'\n", `f:5:10: case.client: "x" is no IP address`},
		{"[[case]]\nfrom = ''\nto = 'a@b.example'\nexpect = 'held'\ntls = '1.0'\n", "f:5:7: case.tls: "},
		{"[[case]]\nfrom = ''\nto = 'a@b.example'\nexpect = 'held'\nlistener = 'x'\n", `f:1:3: case: case in line 1: there is no listener "x"`},
		{"[[case]]\nfrom = ''\nto = 'a@b.example'\nexpect = 'held'\nmessage = 'x'\nfile = 'f'\n", "f:1:3: case.message: stands beside file"},
		{"[[case]\n", "f:1:"},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Run(t.Context(), server(t), path)
		wrong, is := errors.AsType[*config.Errors](err)
		if !is || !strings.Contains(wrong.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := Run(t.Context(), server(t), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestPage: what can be expected, and what a case has, stands in docs/policy.md.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Cases of your own")
	words := []string{}
	for i := range forms {
		words = append(words, forms[i].word)
	}
	for key := range keys() {
		words = append(words, key)
	}
	for _, word := range words {
		if !strings.Contains(section, "`"+word+"`") && !strings.Contains(section, "`"+word+" ") {
			t.Errorf("docs/policy.md does not tell of %s", word)
		}
	}
}

// TestExampleOfThePage: the cases that the page shows can be read.
func TestExampleOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "and in `tests/yahoo.toml`\n")
	example, _, found := strings.Cut(rest, "These run them:")
	if !found {
		t.Fatal("the page shows no cases")
	}
	path := filepath.Join(t.TempDir(), "yahoo.toml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(example, "\n    ", "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	cases, err := read(path)
	if err != nil || len(cases) != 2 || len(cases[0].expected) != 3 || !strings.Contains(string(cases[1].mail.Content), "a winner") {
		t.Errorf("%v, %+v", err, cases)
	}
}

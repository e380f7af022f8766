package policytest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/mail"
)

// testCase is one case of a file.
type testCase struct {
	name     string
	place    mail.Place
	mail     explain.Mail
	expected []expectation
}

// defaultClient is who sends when a case does not say: a client on this host.
var defaultClient = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0)

// read reads the cases of a file.
func read(path string) ([]testCase, error) {
	tables, err := config.LoadTables(path, "case")
	if err != nil {
		return nil, err
	}
	r := reader{dir: filepath.Dir(path)}
	var cases []testCase
	for i := range tables {
		cases = append(cases, r.read(&tables[i]))
	}
	if len(tables) == 0 {
		r.problems = append(r.problems, config.Problem{Place: mail.Place{File: path, Line: 1, Column: 1}, Message: errNoCases.Error(), Cause: errNoCases})
	}
	if len(r.problems) > 0 {
		config.SortProblems(r.problems, []string{path})
		return nil, &config.Errors{Problems: r.problems}
	}
	return cases, nil
}

// reader reads cases, and notes all that is wrong with them.
type reader struct {
	dir      string // from which their files are taken
	problems []config.Problem
	made     *testCase
	key      *config.TableKey
}

// keys are those of a case.
func keys() map[string]func(*reader) {
	return map[string]func(*reader){
		"name":     func(r *reader) { r.made.name = r.text() },
		"from":     (*reader).from,
		"to":       (*reader).to,
		"client":   (*reader).client,
		"helo":     func(r *reader) { r.made.mail.Hello = r.text() },
		"user":     func(r *reader) { r.made.mail.User = r.text() },
		"listener": func(r *reader) { r.made.mail.Listener = r.text() },
		"tls":      (*reader).tls,
		"file":     (*reader).file,
		"message":  func(r *reader) { r.made.mail.Content = []byte(r.text()) },
		"expect":   (*reader).expect,
	}
}

// read reads one case.
func (r *reader) read(t *config.Table) testCase {
	c := testCase{place: t.Place, name: fmt.Sprintf("case in line %d", t.Place.Line)}
	r.made = &c
	table := keys()
	given := map[string]bool{}
	for i := range t.Keys {
		r.key = &t.Keys[i]
		name := r.key.Name.Text
		given[name] = true
		read := table[name]
		if read == nil {
			var names []string
			for known := range table {
				names = append(names, known)
			}
			slices.Sort(names)
			r.wrong(r.key.Name.Place, config.DidYouMean(name, names), "a case has no %q", name)
			continue
		}
		read(r)
	}
	for _, name := range []string{"from", "to", "expect"} {
		if !given[name] {
			r.problems = append(r.problems, config.Problem{Place: t.Place, Key: "case." + name, Message: "is missing"})
		}
	}
	if given["file"] && given["message"] {
		r.problems = append(r.problems, config.Problem{Place: t.Place, Key: "case.message", Message: "stands beside file", Hint: "keep one of them"})
	}
	if m := &c.mail; !m.Client.IsValid() && m.Listener != explain.SendmailListener {
		m.Client = defaultClient
	}
	r.checkAbout(&c)
	return c
}

// checkAbout looks whether expectations are about recipients of their case.
func (r *reader) checkAbout(c *testCase) {
	for _, e := range c.expected {
		if e.about != "" && !slices.ContainsFunc(c.mail.To, func(a mail.Address) bool { return a.String() == e.about }) {
			r.problems = append(r.problems, config.Problem{Place: e.place, Key: "case.expect", Message: "<" + e.about + "> is no recipient of this case", Hint: "write it as in to"})
		}
	}
}

func (r *reader) wrong(at mail.Place, hint, format string, args ...any) {
	r.problems = append(r.problems, config.Problem{Place: at, Key: "case." + r.key.Name.Text, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// text is the value, which is one text.
func (r *reader) text() string {
	if r.key.Kind != config.TextArgument {
		r.wrong(r.key.Text.Place, "write it in quotes", "is not text")
	}
	return r.key.Text.Text
}

// texts are the value, which is a text or a list of them.
func (r *reader) texts() []config.Text {
	if r.key.Kind == config.TextArgument {
		return []config.Text{r.key.Text}
	}
	var list []config.Text
	for _, item := range r.key.Items {
		if item.Kind != config.TextArgument {
			r.wrong(item.Text.Place, "write it in quotes", "is not text")
		}
		list = append(list, item.Text)
	}
	if len(list) == 0 {
		r.wrong(r.key.Text.Place, "write one or more texts", "has no text")
	}
	return list
}

func (r *reader) address(t config.Text, parse func(string) (mail.Address, error)) mail.Address {
	a, err := parse(t.Text)
	if err != nil {
		r.wrong(t.Place, "", "%q: %v", t.Text, err)
	}
	return a
}

func (r *reader) from() {
	if text := r.text(); text != "" {
		r.made.mail.From = r.address(r.key.Text, explain.ParseFrom)
	}
}

func (r *reader) to() {
	for _, t := range r.texts() {
		r.made.mail.To = append(r.made.mail.To, r.address(t, explain.ParseTo))
	}
}

func (r *reader) client() {
	ip, err := netip.ParseAddr(r.text())
	if err != nil {
		r.wrong(r.key.Text.Place, `write an address: "192.0.2.7"`, "%q is no IP address", r.key.Text.Text)
		return
	}
	r.made.mail.Client = netip.AddrPortFrom(ip, 0)
}

func (r *reader) tls() {
	version, err := explain.ParseTLS(r.text())
	if err != nil {
		r.wrong(r.key.Text.Place, "", "%v", err)
	}
	r.made.mail.TLS = version
}

func (r *reader) file() {
	path := r.text()
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		r.wrong(r.key.Text.Place, "", "%v", err)
		return
	}
	defer f.Close()
	content, err := explain.ReadContent(f)
	if err != nil {
		r.wrong(r.key.Text.Place, "", "%s: %v", path, err)
	}
	r.made.mail.Content = content
}

func (r *reader) expect() {
	for _, t := range r.texts() {
		e, hint, err := parseExpectation(t.Text)
		if err != nil {
			r.wrong(t.Place, hint, "%v", err)
			continue
		}
		e.place = t.Place
		r.made.expected = append(r.made.expected, e)
	}
}

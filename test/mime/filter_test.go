package mime

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
)

// filters are of each kind, and drop what they find.
const filters = `version = 1
hostname = "gate.corp.example"
data_dir = "data"
postmaster = "postmaster@corp.example"
[[listener]]
address = "127.0.0.1:2525"
relay = "everybody"
[[filter]]
name = "names"
attachment = ["*.gif", "*.exe", "*.vbs", "*.txt"]
then = "discard"
[[filter]]
name = "types"
type = ["text/html", "image/*"]
then = "discard"
[[filter]]
name = "subject"
subject = ["lyric?"]
then = "discard"
`

// stored is a message as policy looks at it. It counts the work.
type stored struct {
	content []byte
	looked  int64
	looks   int
}

func (m *stored) Size() int64 { return int64(len(m.content)) }

func (m *stored) Inspect() (*message.Inspection, error) {
	i, err := message.Inspect(bytes.NewReader(m.content), message.InspectLimits{})
	m.looks++
	if err == nil {
		m.looked += i.Looked
	}
	return i, err
}

func (m *stored) Body(most int) (string, error) {
	return string(m.content[:min(len(m.content), most)]), nil
}

// maxWork is how often an octet may be looked at.
const maxWork = 20

func engine(t *testing.T) *policy.Engine {
	t.Helper()
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(filters)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	e, problems := policy.Compile(policy.Options{Config: c})
	if e == nil {
		t.Fatal(problems)
	}
	return e
}

// filtered says what became of a message: "pass", "discard" or "keep".
func filtered(t *testing.T, e *policy.Engine, name string, content []byte) string {
	t.Helper()
	ctx := context.Background()
	s := e.Begin(mail.Origin{Listener: "smtp", Client: netip.MustParseAddrPort("192.0.2.1:4711")})
	s.Mail(ctx, mail.Address{Local: "joe", Domain: "example.com"}, 0)
	to := mail.Recipient{Address: mail.Address{Local: "ann", Domain: "example.org"}}
	s.Rcpt(ctx, to)
	m := stored{content: content}
	d := s.Data(ctx, []policy.Addressee{{Recipient: to}}, &m)
	if d.Verdict != policy.Accept {
		t.Fatalf("%s: %v", name, d.Decision)
	}
	if m.looks != 1 || m.looked > maxWork*m.Size()+maxWork {
		t.Errorf("%s: %d looks, at %d octets of %d", name, m.looks, m.looked, m.Size())
	}
	switch treatment := d.Recipients[0].Treatment; {
	case treatment.Discard:
		return "discard"
	case treatment.Hold == mail.HoldQuarantine:
		return "keep"
	}
	return "pass"
}

// looksFor reports whether the filters look for what a reader has seen.
func looksFor(s seen) bool {
	suffixes := []string{".gif", ".exe", ".vbs", ".txt"}
	return slices.ContainsFunc(s.Names, func(name string) bool {
		return slices.ContainsFunc(suffixes, func(suffix string) bool {
			return strings.HasSuffix(strings.ToLower(name), suffix) && len(name) > len(suffix)
		})
	}) || slices.ContainsFunc(s.Types, func(kind string) bool { return kind == "text/html" || strings.HasPrefix(kind, "image/") })
}

// TestFilters: of each message of the corpus what must become of it, by what is known
// of its parts.
func TestFilters(t *testing.T) {
	e := engine(t)
	count := make(map[string]int)
	for name, content := range readCorpus(t) {
		known := verdicts[name]
		want := "pass"
		switch {
		case looksFor(seen{Types: strings.Fields(known.types), Names: strings.Split(known.names, "|")}), bytes.Contains(content, []byte("\nSubject: Lyrics")):
			want = "discard"
		case len(known.defects) > 0:
			want = "keep"
		}
		if got := filtered(t, e, name, content); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		count[want]++
	}
	for _, what := range []string{"pass", "discard", "keep"} {
		if count[what] < 5 {
			t.Errorf("%d messages %s", count[what], what)
		}
	}
}

// TestFiltersOfMutants: of messages that are broken by chance none passes in which
// Python sees what the filters look for.
func TestFiltersOfMutants(t *testing.T) {
	e, corpus := engine(t), readCorpus(t)
	names := slices.Sorted(maps.Keys(corpus))
	random := rand.New(rand.NewPCG(3, 4))
	messages := map[string][]byte{}
	for i := range mutants {
		name, other := names[random.IntN(len(names))], names[random.IntN(len(names))]
		messages[fmt.Sprintf("%s, mutant %d", name, i)] = mutate(random, corpus[name], corpus[other])
	}
	passed, found := 0, 0
	for name, python := range python(t, messages) {
		got := filtered(t, e, name, messages[name])
		switch {
		case got == "pass" && looksFor(python):
			t.Errorf("%s passes, and Python sees %q %q:\n%s", name, python.Types, python.Names, messages[name])
		case got == "pass":
			passed++
		case looksFor(python):
			found++
		}
	}
	if passed < mutants/10 || found < mutants/10 {
		t.Errorf("of %d messages %d passed, and in %d something was found", mutants, passed, found)
	}
}

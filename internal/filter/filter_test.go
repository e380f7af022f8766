package filter_test

import (
	"errors"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/filter"
	"postern/internal/mail"
)

var now = time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)

const id, other = mail.ID("38g934p3c85iftp8"), mail.ID("38g934p3c85iftp9")

// subject is a message of three hours and 2,048 octets.
func subject() *filter.Subject {
	return &filter.Subject{
		ID: id, Message: id, Accepted: now.Add(-3 * time.Hour), Size: 2048,
		From:   mail.Address{Local: "joe", Domain: "Source.example"},
		Origin: &mail.Origin{Listener: "smtp", Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:4000")},
		Tags:   []string{"bulk", "Payroll"},
		To: &filter.Recipient{
			Address: mail.Address{Local: "a b", Domain: "one.example"}, Destination: "hub.example", State: mail.Held, Hold: mail.HoldDeadLetter,
			Attempts: 3, Last: &mail.Outcome{Reply: mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "No answer"}, Cause: "i/o timeout"},
		},
	}
}

func parse(t *testing.T, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return f
}

func TestMatches(t *testing.T) {
	for text, want := range map[string]bool{
		"age > 2h": true, "age>3h": false, "age >= 3h": true, "age < 3h": false, "age <= 180m": true, "age = 10800s": true, "age != 3h": false,
		"tag = BULK": true, "tag = payroll": true, "tag = other": false, "tag != other": true, "tag != bulk": false, "tag ~ pay*": true, "tag ~ x*": false,
		"tag in (x, bulk)": true, "tag in (x, y)": false, `route = ""`: true, "route ~ relay*": false,
		"age > 1h30m": true, "age>0s": true, "age < 1w": true, "AGE > 2H": true,
		"sender = JOE@source.EXAMPLE": true, "sender=<joe@source.example>": true, "sender != joe@source.example": false, "sender = <>": false, "sender != <>": true,
		"sender ~ *@source.example": true, "sender ~ j*e@*": true, "sender ~ *@source": false, "sender ~ joe": false, "sender ~ *": true, "sender ~ joe@*e@*": false,
		`recipient = "\"a b\"@one.example"`: true, "recipient ~ *one.example": true,
		"domain = ONE.example": true, "domain = hub.example": false, "domain in (two.example, one.example)": true, "domain in (two.example)": false,
		"destination = hub.example": true, "destination ~ hub*": true,
		"state = held": true, "state in (queued,deferred)": false, "state != Held": false,
		`hold = "dead letter"`: true, "hold = operator": false, `hold ~ dead*`: true,
		"reason ~ *timeout": true, `reason ~ "451 4.4.1 no answer*"`: true, "reason ~ 5*": false, `reason = ""`: false,
		"attempts >= 3": true, "attempts = 2": false,
		"size = 2K": true, "size > 1M": false, "size >= 2048": true, "size < 1G": true,
		"id = 38g934p3c85iftp8": true, "id ~ 38g9*": true, "message in (38g934p3c85iftp9)": false,
		"listener = smtp": true, "client = 192.0.2.7": true, "client = 192.0.2.0/24": true, "client != 192.0.2.0/24": false, "client in (2001:db8::/32, 192.0.2.7)": true,
		"all": true, "not ALL": false, "all and state = queued": false,
		"not state = held": false, "not not state = held": true,
		"state = held and size > 1M": false, "state = held or size > 1M": true, "size > 1M or state = held and age > 4h": false,
		"(size > 1M or state = held) and age > 1h": true, "not (size > 1M or age > 4h)": true, "not size > 1M and state = held": true,
	} {
		if got := parse(t, text).Matches(subject(), now); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

// TestLongList: a list of many values holds for the same as several short ones.
func TestLongList(t *testing.T) {
	others := strings.Repeat("x.example, ", 100)
	for text, want := range map[string]bool{
		"domain in (" + others + "ONE.example)": true, "domain in (" + others + "two.example)": false, "not domain in (" + others + "one.example)": false,
		"attempts in (" + strings.Repeat("1, ", 100) + "3)": true,
	} {
		f := parse(t, text)
		if got := f.Matches(subject(), now); got != want {
			t.Errorf("%.20q…: got %v", text, got)
		}
		if again := parse(t, f.String()); again.String() != f.String() {
			t.Errorf("%.20q… is printed as %q", text, f)
		}
	}
}

func TestMissing(t *testing.T) {
	s := subject()
	s.Origin, s.From, s.To.Last = &mail.Origin{}, mail.Address{}, nil
	for text, want := range map[string]bool{
		"sender = <>": true, "sender ~ <*": true, `reason = ""`: true, "reason ~ *": true, "reason != x": true, "client = 0.0.0.0/0": false, "client != 192.0.2.7": true,
	} {
		if got := parse(t, text).Matches(s, now); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

// TestMayMatch: without a recipient only what the message itself rules out is
// ruled out.
func TestMayMatch(t *testing.T) {
	s := subject()
	s.To = nil
	for text, want := range map[string]bool{
		"state = queued": true, "not state = queued": true, "size > 1M": false, "size > 1M and state = held": false, "size > 1M or state = held": true,
		"not size > 1M and domain = x.example": true, "not (size = 2K or domain = x.example)": false,
	} {
		if got := parse(t, text).MayMatch(s, now); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestBounds(t *testing.T) {
	both := []mail.ID{id, other}
	for _, test := range []struct {
		text         string
		ids          []mail.ID
		destinations []mail.Destination
		states       []mail.State
	}{
		{"age > 1h", nil, nil, nil},
		{"id = " + string(id), both[:1], nil, nil},
		{"id in (" + string(other) + ", " + string(id) + ", " + string(id) + ") and state = held", both, nil, []mail.State{mail.Held}},
		{"id = " + string(id) + " or id = " + string(other), both, nil, nil},
		{"id = " + string(id) + " or age > 1h", nil, nil, nil},
		{"id in (" + string(id) + "," + string(other) + ") and id = " + string(id), both[:1], nil, nil},
		{"not id = " + string(id), nil, nil, nil},
		{"id != " + string(id) + " and id ~ x*", nil, nil, nil},
		{"destination = B.example and (state = held or state = queued)", nil, []mail.Destination{"b.example"}, []mail.State{mail.Held, mail.Queued}},
	} {
		f := parse(t, test.text)
		ids, idBound := f.IDs()
		destinations, destinationBound := f.Destinations()
		states, stateBound := f.States()
		if !slices.Equal(ids, test.ids) || idBound != (test.ids != nil) || !slices.Equal(destinations, test.destinations) ||
			destinationBound != (test.destinations != nil) || !slices.Equal(states, test.states) || stateBound != (test.states != nil) {
			t.Errorf("%q: %v %v %v", test.text, ids, destinations, states)
		}
	}
	if ids, bounded := parse(t, "id = "+string(id)+" and id = "+string(other)).IDs(); !bounded || len(ids) > 0 {
		t.Errorf("what cannot be is bound by %v, %v", ids, bounded)
	}
}

func TestString(t *testing.T) {
	for text, want := range map[string]string{
		"age>90m": "age > 1h30m", "age>0s": "age > 0s", "size>1024K": "size > 1M", "size=1025": "size = 1025", "attempts=10": "attempts = 10",
		"NOT(state=held OR age>1d)and size<1": "not (state = held or age > 1d) and size < 1",
		"state=held or (age>1d and size<1)":   "state = held or age > 1d and size < 1",
		`hold in("dead letter",policy)`:       `hold in ("dead letter", policy)`, `reason ~ "a\"b\\"`: `reason ~ "a\"b\\"`,
		`sender = "*@x.example"`: `sender = "*@x.example"`, "sender=bounce=x@y.example": "sender = bounce=x@y.example",
		"client=192.0.2.7/24": "client = 192.0.2.0/24", "recipient ~ *": "recipient ~ *", "(All)": "all",
	} {
		f := parse(t, text)
		if got := f.String(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestIsAll(t *testing.T) {
	for text, want := range map[string]bool{"all": true, "(all)": true, "not all": false, "all and all": false, "age > 1h": false} {
		if got := parse(t, text).IsAll(); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestErrors(t *testing.T) {
	deep := strings.Repeat("(", 101) + "age > 1h"
	for text, want := range map[string]string{
		"":                                      "column 1: the end where a condition should begin; it begins with one of age, sender",
		"sendr = x":                             `column 1: "sendr" where a condition should begin`,
		"age > 1h and":                          "column 13: the end where a condition should begin",
		"age > 1h state = held":                 `column 10: "state" is one too many here; between two conditions stands and, or or`,
		"age > 2":                               `column 7: age "2": write a number and its unit`,
		"age > 1h1d":                            "column 7: ",
		"age > 99999999999999999w":              "column 7: ",
		"age ~ 1h":                              `column 5: "~" behind age, which is compared by = != < > <= >= in`,
		"state < held":                          `column 7: "<" behind state, which is compared by = != ~ in`,
		"state held":                            `column 7: "held" behind state`,
		"state = gone":                          `column 9: state "gone": not a state in the queue; these are queued, deferred and held`,
		"hold = x":                              `column 8: hold "x": not a reason for a hold; these are "policy", "operator"`,
		"sender = *@x.example":                  `column 10: * stands for anything only behind ~; write sender ~ *@x.example, or "*@x.example"`,
		"sender = joe":                          `column 10: sender "joe": not an address`,
		"domain = a@b":                          "column 10: ",
		"size > 1T":                             "column 8: ",
		"id = 1":                                `column 6: id "1": "1" is not an id`,
		"client = 1.2.3":                        "column 10: ",
		"state in held":                         `column 10: "held" behind in; write the list in parentheses: state in (…, …)`,
		"state in (held queued)":                `column 16: "queued" in a list`,
		"state in ()":                           `column 11: ")" where a value for state should be`,
		"(state = held":                         "column 14: the end where the parenthesis of column 1 should be closed",
		`ü`:                                     `column 1: "ü"`,
		`reason ~ "ü and sender = `:             "column 10: the quotes are not closed",
		`reason ~ ü and sendr = x`:              `column 16: "sendr"`,
		"site = x":                              "column 1: the queue does not know sites; use destination",
		"user = x":                              "column 1: the queue does not know users",
		"\xff":                                  "not valid UTF-8",
		deep:                                    "more than 100",
		strings.Repeat("x", filter.MaxLength+1): "octets",
	} {
		_, err := filter.Parse(text)
		if _, ok := errors.AsType[*filter.SyntaxError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
}

// TestManual holds the list of fields in the manual and the language together.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/queue.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for line := range strings.Lines(string(manual)) {
		if name, found := strings.CutPrefix(line, "| `"); found && strings.Count(line, "|") == 5 {
			told = append(told, name[:strings.IndexByte(name, '`')])
		}
	}
	if !reflect.DeepEqual(told, filter.Names()) {
		t.Errorf("docs/queue.md tells of %v, the fields are %v", told, filter.Names())
	}
}

// FuzzParse: what is parsed prints as what parses to the same, and answers as
// it does; nothing panics.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"age > 2h and (domain = x.example or not state in (held, queued))", `reason ~ "*a\"\\b*" or sender = <>`, "client = 192.0.2.0/24", "size>=1M and size<1025",
		`sender = "*@x"`, "id in (38g934p3c85iftp8)", "not not attempts=0", `hold="dead letter"`, "((((", "not all", "age>1d12h",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		one, err := filter.Parse(text)
		if err != nil {
			if syntax, ok := errors.AsType[*filter.SyntaxError](err); !ok || syntax.Column < 1 || syntax.Column > len(text)+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		printed := one.String()
		two, err := filter.Parse(printed)
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, printed, err)
		}
		s := subject()
		if again := two.String(); again != printed || one.Matches(s, now) != two.Matches(s, now) {
			t.Fatalf("%q is printed as %q, and that as %q", text, printed, again)
		}
		matched := one.Matches(s, now)
		s.To = nil
		if matched && !one.MayMatch(s, now) {
			t.Fatalf("%q matches, although it cannot", text)
		}
		if ids, bounded := one.IDs(); matched && bounded && !slices.Contains(ids, id) {
			t.Fatalf("%q matches %s, but is bound to %v", text, id, ids)
		}
	})
}

// TestToDestinations: whatever a destination is called, it is read back.
func TestToDestinations(t *testing.T) {
	for _, list := range [][]mail.Destination{{"a.example"}, {"a.example", "[192.0.2.1]", `odd "one"`, "b*", `c\d`, "e(f)"}} {
		f, err := filter.Parse(filter.ToDestinations(list))
		if err != nil {
			t.Fatal(err)
		}
		got, bounded := f.Destinations()
		want := slices.Sorted(slices.Values(list))
		if !bounded || !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// operator is how a field is compared.
type operator string

const (
	opEqual    operator = "="
	opNotEqual operator = "!="
	opLess     operator = "<"
	opGreater  operator = ">"
	opAtMost   operator = "<="
	opAtLeast  operator = ">="
	opLike     operator = "~"
	opIn       operator = "in"
)

// value is what a field is compared with.
type value struct {
	text   string // as it is printed
	number int64
	prefix netip.Prefix
}

// kind is what a field holds.
type kind interface {
	// operators are those that make sense.
	operators() []operator
	// parse reads a value for an operator. It fails with what would be right.
	parse(text string, op operator) (value, error)
	// holds compares.
	holds(f *field, q *question, op operator, v *value) bool
}

// field is one thing that can be asked of a recipient or its message.
type field struct {
	name        string
	kind        kind
	ofRecipient bool
	text        func(q *question) string     // of texts
	number      func(q *question) int64      // of numbers
	client      func(q *question) netip.Addr // of networks
	set         func(q *question) []string   // of sets
}

// The fields that a store may ask about beforehand.
const (
	fieldID          = "id"
	fieldDestination = "destination"
	fieldState       = "state"
)

// fields are all fields. docs/queue.md has a line for each, in this order.
var fields = []field{
	{name: "age", kind: numbers{parseAge}, number: func(q *question) int64 { return int64(q.now.Sub(q.Accepted)) }},
	{name: "sender", kind: texts{parseAddress}, text: func(q *question) string { return sender(q.From) }},
	{name: "recipient", kind: texts{parseAddress}, ofRecipient: true, text: func(q *question) string { return q.To.Address.String() }},
	{name: "domain", kind: texts{parseDomain}, ofRecipient: true, text: func(q *question) string { return q.To.Address.Domain }},
	{name: fieldDestination, kind: texts{parseDestination}, ofRecipient: true, text: func(q *question) string { return string(q.To.Destination) }},
	{name: "route", kind: texts{parseAny}, ofRecipient: true, text: func(q *question) string { return string(q.To.Destination.Route()) }},
	{name: fieldState, kind: texts{parseState}, ofRecipient: true, text: func(q *question) string { return string(q.To.State) }},
	{name: "hold", kind: texts{parseHold}, ofRecipient: true, text: func(q *question) string { return string(q.To.Hold) }},
	{name: "reason", kind: texts{parseAny}, ofRecipient: true, text: func(q *question) string { return reason(q.To.Last) }},
	{name: "attempts", kind: numbers{parseCount}, ofRecipient: true, number: func(q *question) int64 { return int64(q.To.Attempts) }},
	{name: "size", kind: numbers{parseSize}, number: func(q *question) int64 { return q.Size }},
	{name: fieldID, kind: texts{parseID}, text: func(q *question) string { return string(q.ID) }},
	{name: "message", kind: texts{parseID}, text: func(q *question) string { return string(q.Message) }},
	{name: "class", kind: texts{parseClass}, text: func(q *question) string { return q.Class.String() }},
	{name: "tag", kind: sets{}, set: func(q *question) []string { return q.Tags }},
	{name: "listener", kind: texts{parseAny}, text: func(q *question) string { return q.Origin.Listener }},
	{name: "client", kind: networks{}, client: func(q *question) netip.Addr { return q.Origin.Client.Addr().Unmap() }},
}

// Names returns the names of all fields.
func Names() []string {
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].name
	}
	return names
}

// sender writes the null sender as operators know it.
func sender(a mail.Address) string {
	if a.IsNull() {
		return "<>"
	}
	return a.String()
}

// reason is why a recipient is still here: what was said at the last attempt.
func reason(o *mail.Outcome) string {
	switch {
	case o == nil:
		return ""
	case o.Cause == "":
		return o.Reply.String()
	}
	return o.Reply.String() + ": " + o.Cause
}

// texts are compared without case.
type texts struct {
	read func(string) (string, error)
}

func (texts) operators() []operator { return []operator{opEqual, opNotEqual, opLike, opIn} }

func (k texts) parse(s string, op operator) (value, error) {
	if op == opLike {
		return value{text: s}, nil
	}
	text, err := k.read(s)
	return value{text: text}, err
}

func (texts) holds(f *field, q *question, op operator, v *value) bool {
	switch text := f.text(q); op {
	case opNotEqual:
		return !strings.EqualFold(text, v.text)
	case opLike:
		return mail.Like(v.text, text)
	default:
		return strings.EqualFold(text, v.text)
	}
}

func parseAny(s string) (string, error) { return s, nil }

func parseAddress(s string) (string, error) {
	if s == "<>" {
		return s, nil
	}
	a, err := mail.ParseAddress(strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">"))
	if err != nil {
		return "", fmt.Errorf("%w; write local-part@domain, <> for the sender of reports, or ~ for a part with *", err)
	}
	return a.String(), nil
}

func parseDomain(s string) (string, error) {
	if err := mail.CheckDomain(s); err != nil {
		return "", fmt.Errorf("%w; write a domain, or ~ for a part with *", err)
	}
	return strings.ToLower(s), nil
}

// parseDestination takes what a person may have named a destination.
func parseDestination(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("a destination has no NUL")
	}
	return strings.ToLower(s), nil
}

func parseState(s string) (string, error) {
	if lower := strings.ToLower(s); mail.State(lower).Stored() {
		return lower, nil
	}
	return "", fmt.Errorf("not a state in the queue; these are queued, deferred and held")
}

// holds are the reasons for a hold.
var holds = []mail.Hold{mail.HoldPolicy, mail.HoldOperator, mail.HoldQuarantine, mail.HoldRoute, mail.HoldDeadLetter, mail.HoldDamage}

func parseHold(s string) (string, error) {
	var names []string
	for _, h := range holds {
		if strings.EqualFold(s, string(h)) {
			return string(h), nil
		}
		names = append(names, Quote(string(h)))
	}
	return "", fmt.Errorf("not a reason for a hold; these are %s", strings.Join(names, ", "))
}

func parseClass(s string) (string, error) {
	class, err := mail.ParseClass(s)
	return class.String(), err
}

func parseID(s string) (string, error) {
	id, err := mail.ParseID(s)
	return string(id), err
}

// numbers have an order.
type numbers struct {
	read func(string) (int64, string, error)
}

func (numbers) operators() []operator {
	return []operator{opEqual, opNotEqual, opLess, opGreater, opAtMost, opAtLeast, opIn}
}

func (k numbers) parse(s string, _ operator) (value, error) {
	n, text, err := k.read(s)
	return value{text: text, number: n}, err
}

func (numbers) holds(f *field, q *question, op operator, v *value) bool {
	switch n := f.number(q); op {
	case opNotEqual:
		return n != v.number
	case opLess:
		return n < v.number
	case opGreater:
		return n > v.number
	case opAtMost:
		return n <= v.number
	case opAtLeast:
		return n >= v.number
	default:
		return n == v.number
	}
}

// unit is one in which numbers are written.
type unit struct {
	name string
	size int64
}

// The units, largest first.
var (
	ageUnits = []unit{
		{"w", int64(7 * 24 * time.Hour)}, {"d", int64(24 * time.Hour)}, {"h", int64(time.Hour)},
		{"m", int64(time.Minute)}, {"s", int64(time.Second)},
	}
	sizeUnits  = []unit{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}}
	countUnits = []unit{{"", 1}}
)

// ParseAge reads how long ago something was, such as 90s, 2h or 1d12h.
func ParseAge(s string) (time.Duration, error) {
	n, _, err := parseAge(s)
	return time.Duration(n), err
}

func parseAge(s string) (int64, string, error) {
	return parseUnits(s, ageUnits, "write a number and its unit, w, d, h, m or s: 90s, 2h, 1d12h")
}

func parseSize(s string) (int64, string, error) {
	return parseUnits(s, sizeUnits, "write octets, or a number with K, M or G (1,024 of the smaller): 5000, 10K, 1M")
}

func parseCount(s string) (int64, string, error) {
	return parseUnits(s, countUnits, "write a number: 0, 3")
}

// parseUnits reads numbers, each with a unit, in order of the units.
func parseUnits(s string, units []unit, right string) (total int64, text string, err error) {
	wrong := fmt.Errorf("%s", right)
	for rest, left := s, units; ; {
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return 0, "", wrong
		}
		rest = rest[len(digits):]
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "GKMDHSWgkmdhsw"))]
		rest = rest[len(name):]
		i := unitNamed(left, name)
		if i < 0 || n > (1<<62-total)/left[i].size {
			return 0, "", wrong
		}
		total += n * left[i].size
		if left = left[i+1:]; rest == "" {
			return total, inUnits(total, units), nil
		}
	}
}

func unitNamed(units []unit, name string) int {
	for i, u := range units {
		if strings.EqualFold(u.name, name) {
			return i
		}
	}
	return -1
}

// inUnits writes a number so that parseUnits reads it back.
func inUnits(n int64, units []unit) string {
	smallest := units[len(units)-1]
	if n == 0 {
		return "0" + smallest.name
	}
	if smallest.name == "" { // one unit alone
		for _, u := range units {
			if n%u.size == 0 {
				return strconv.FormatInt(n/u.size, 10) + u.name
			}
		}
	}
	var b strings.Builder
	for _, u := range units {
		if n >= u.size {
			b.WriteString(strconv.FormatInt(n/u.size, 10) + u.name)
			n %= u.size
		}
	}
	return b.String()
}

// sets are texts of which there may be any number. One of them that compares
// is enough; "!=" is that none is equal.
type sets struct{}

func (sets) operators() []operator { return texts{}.operators() }

func (sets) parse(s string, _ operator) (value, error) { return value{text: s}, nil }

func (sets) holds(f *field, q *question, op operator, v *value) bool {
	equal := func(s string) bool { return strings.EqualFold(s, v.text) }
	switch set := f.set(q); op {
	case opNotEqual:
		return !slices.ContainsFunc(set, equal)
	case opLike:
		return slices.ContainsFunc(set, func(s string) bool { return mail.Like(v.text, s) })
	default:
		return slices.ContainsFunc(set, equal)
	}
}

// networks are addresses and blocks of them.
type networks struct{}

func (networks) operators() []operator { return []operator{opEqual, opNotEqual, opIn} }

func (networks) parse(s string, _ operator) (value, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return value{text: a.String(), prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return value{}, fmt.Errorf("write an IP address or a block of them: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32")
	}
	p = p.Masked()
	return value{text: p.String(), prefix: p}, nil
}

func (networks) holds(f *field, q *question, op operator, v *value) bool {
	return v.prefix.Contains(f.client(q)) == (op != opNotEqual)
}

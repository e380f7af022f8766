package script

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// observation is a line that a scenario has told.
type observation struct {
	scenario string
	row      string // what it is about; "" if the scenario has but one subject
	text     string
}

// observations are those of all scenarios.
type observations struct {
	mu   sync.Mutex
	list []observation
}

// seen has what scenarios tell.
var seen observations

// forget empties them, for a test that runs again.
func (o *observations) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = nil
}

func (o *observations) add(list ...observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, list...)
}

// about returns what is about a row, by scenarios.
func (o *observations) about(row string) []observation {
	return o.those(func(one observation) bool { return one.row == row })
}

// of returns what a scenario of one subject has told.
func (o *observations) of(scenario string) (lines []string) {
	for _, one := range o.those(func(one observation) bool { return one.scenario == scenario && one.row == "" }) {
		lines = append(lines, one.text)
	}
	return lines
}

func (o *observations) those(fit func(observation) bool) (list []observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.list {
		if fit(one) {
			list = append(list, one)
		}
	}
	slices.SortStableFunc(list, func(a, b observation) int { return strings.Compare(a.scenario, b.scenario) })
	return list
}

// observed tells the page what was seen. Addresses that a run chose stand there as the
// variables that have them.
func observed(ts *testscript.TestScript, neg bool, args []string) {
	row := ""
	if len(args) > 2 && args[0] == "-for" {
		row, args = args[1], args[2:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: observed [-for ROW] FILE, or observed [-for ROW] PATTERN ARGUMENT...")
	}
	text := ""
	if len(args) == 1 {
		text = ts.ReadFile(args[0])
	} else {
		text = strings.Join(untilMatch(ts, args[0], args[1:])[1:], ", ")
	}
	text = strings.TrimSpace(blanks.ReplaceAllString(withoutPorts(ts, text), " "))
	if text == "" {
		ts.Fatalf("nothing was observed")
	}
	for line := range strings.SplitSeq(text, "\n") {
		seen.add(observation{ts.Name(), row, line})
	}
}

// blanks are what makes columns.
var blanks = regexp.MustCompile(`  +`)

// port is an address of loopback with a port.
var port = regexp.MustCompile(`127\.0\.0\.\d+:\d+|\[::1\]:\d+`)

// withoutPorts names addresses by the variables that have them.
func withoutPorts(ts *testscript.TestScript, text string) string {
	return port.ReplaceAllStringFunc(text, func(address string) string {
		at := netip.MustParseAddrPort(address)
		for _, name := range addresses(ts).all() {
			if set, err := netip.ParseAddrPort(ts.Getenv(name)); err == nil && set.Port() == at.Port() {
				if set.Addr() == at.Addr() {
					return name
				}
				return at.Addr().String() + ":" + name
			}
		}
		return address
	})
}

// names are the variables of a scenario that have addresses.
type names struct {
	mu   sync.Mutex
	list []string
}

func (n *names) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

// addressesKey is where a scenario has its names.
type addressesKey struct{}

func addresses(ts *testscript.TestScript) *names { return ts.Value(addressesKey{}).(*names) }

// setAddress sets a variable to an address, and NAME_PORT to its port.
func setAddress(ts *testscript.TestScript, name, address string) {
	n := addresses(ts)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, name)
	ts.Setenv(name, address)
	ts.Setenv(name+"_PORT", address[strings.LastIndexByte(address, ':')+1:])
}

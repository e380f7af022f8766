package daemon

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cell writes what was observed for a cell.
func (s seen) cell(format string, args ...any) string {
	list := slices.Sorted(maps.Keys(s[fmt.Sprintf(format, args...)]))
	if len(list) == 0 {
		return "not asked"
	}
	return strings.TrimSpace(strings.Join(list, " or "))
}

// row writes a row of a table.
func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// head writes the head of a table.
func head(b *strings.Builder, cells ...string) {
	row(b, cells...)
	b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
}

// relayTables are the generated part of docs/relay.md.
func relayTables(s seen) string {
	var b strings.Builder
	b.WriteString("## Who is greeted\n\n")
	head(&b, "`override_reject`", "in `trust`", "in `reject_clients`", "reply to the connection")
	for _, override := range []bool{false, true} {
		for _, c := range relayClients {
			row(&b, fmt.Sprint(override), yes(c.trusted), yes(c.rejected), s.cell("connect %t %t %t", override, c.trusted, c.rejected))
		}
	}
	b.WriteString("\n## What is taken\n\n")
	head(&b, "`relay`", "client in `trust`", string(here), string(near), string(elsewhere), string(unknown))
	for _, option := range relayOptions {
		for _, trusted := range []bool{false, true} {
			cells := []string{"`" + string(option) + "`", yes(trusted)}
			for _, is := range []class{here, near, elsewhere, unknown} {
				cells = append(cells, s.cell("%s %t %s", option, trusted, is))
			}
			row(&b, cells...)
		}
	}
	accountTable(&b, s)
	for i := range relayCases {
		b.WriteString("\n## " + relayCases[i].title + "\n\n")
		head(&b, "RCPT TO:", "is", "goes to", "from a stranger: `near`", "`clients`", "from `trust`: `clients`")
		for j := range relayCases[i].cases {
			c := &relayCases[i].cases[j]
			c.row(&b, s, false)
			if c.routed != "" {
				c.row(&b, s, true)
			}
		}
	}
	return b.String()
}

// row writes what was observed for an address.
func (c *relayCase) row(b *strings.Builder, s seen, percent bool) {
	is, goes := c.at(percent)
	path := "`" + c.path + "`"
	if percent {
		path += " with `percent_routing`"
	}
	if goes != "" {
		goes = "`" + goes + "`"
	}
	row(b, path, string(is), goes, s.cell("%s near false %t", c.path, percent), s.cell("%s clients false %t", c.path, percent), s.cell("%s clients true %t", c.path, percent))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// wantRelayPage compares docs/relay.md with what was observed: go test
// ./internal/daemon -update writes it.
func wantRelayPage(t *testing.T, s seen) {
	t.Helper()
	const page, mark = "../../docs/relay.md", "<!-- go test ./internal/daemon -update writes what follows -->\n\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	intro, shown, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no line %q", page, mark)
	}
	want := relayTables(s)
	if *update {
		if err := os.WriteFile(page, []byte(intro+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("%s is not what was observed; run go test ./internal/daemon -update (-observed +page):\n%s", page, diff)
	}
}

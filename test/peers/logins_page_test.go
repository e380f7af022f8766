package peers

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/test/harness"
)

var update = flag.Bool("update", false, "write docs/clients.md anew")

// observed is what clients were told, by the cells of docs/clients.md.
type observed struct {
	cells   map[string]string
	missing bool
}

func (o *observed) add(cell string, key ...string) { o.cells[strings.Join(key, " · ")] = cell }

// at returns what was seen; a client may be not here, or fail its test.
func (o *observed) at(key ...string) string {
	cell := o.cells[strings.Join(key, " · ")]
	if cell == "" {
		o.missing = true
	}
	return cell
}

func tableRow(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func tableHead(b *strings.Builder, cells ...string) {
	tableRow(b, cells...)
	b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
}

// never stands where a client does not know a way to TLS.
const never = "–"

// both are the cells for the two ways to TLS.
func (o *observed) both(c *mailClient, key ...string) []string {
	cells := []string{o.at(append(key, modes[0].name)...), never}
	if !c.onlySTARTTLS {
		cells[1] = o.at(append(key, modes[1].name)...)
	}
	return cells
}

// tables are the generated part of the page.
func (o *observed) tables() string {
	var b strings.Builder
	b.WriteString("## Who gets in\n\n")
	tableHead(&b, "client", "mechanism", modes[0].name, modes[1].name)
	for _, c := range clientsWithLogin() {
		for _, mechanism := range c.mechanisms {
			tableRow(&b, append([]string{c.name, mechanism}, o.both(c, c.name, mechanism)...)...)
		}
	}
	for _, mechanism := range postfixMechanisms {
		tableRow(&b, "Postfix", mechanism, o.at("Postfix", mechanism, modes[0].name), o.at("Postfix", mechanism, modes[1].name))
	}
	b.WriteString("\n## Who does not\n\n")
	tableHead(&b, "client", "wrong password: "+modes[0].name, modes[1].name, "expired certificate: "+modes[0].name, modes[1].name,
		"certificate of another host: "+modes[0].name, modes[1].name, "STARTTLS taken out")
	for _, c := range clientsWithLogin() {
		row := []string{c.name}
		for _, what := range []string{"wrong password", "expired", "other"} {
			row = append(row, o.both(c, what, c.name)...)
		}
		stripped := never
		if !c.onlySTARTTLS {
			stripped = o.at("stripped", c.name)
		}
		tableRow(&b, append(row, stripped)...)
	}
	b.WriteString("\n")
	tableHead(&b, "account", "`PLAIN`", "`LOGIN`", "`SCRAM-SHA-256`", "`EXTERNAL`")
	for _, account := range []string{"disabled", "expired"} {
		tableRow(&b, account, o.at(account, "PLAIN"), o.at(account, "LOGIN"), o.at(account, "SCRAM-SHA-256"), o.at(account, "EXTERNAL"))
	}
	b.WriteString("\n")
	tableHead(&b, "in clear", "reply")
	tableRow(&b, "`AUTH`, which is not offered; TLS is", o.at("TLS offered"))
	tableRow(&b, "`AUTH`, with `tls_required`", o.at("TLS required"))
	tableRow(&b, "commands in the same segment behind `STARTTLS`", o.at("injected"))
	return b.String()
}

// page compares docs/clients.md with what was observed, or writes it.
func (o *observed) page(t *testing.T) {
	t.Helper()
	const page, mark = "../../docs/clients.md", "<!-- go test ./test/peers -run TestLogins -update writes what follows -->\n\n"
	intro, shown, found := strings.Cut(string(read(t, page)), mark)
	want := o.tables()
	switch {
	case !found:
		t.Fatalf("%s has no line %q", page, mark)
	case o.missing && harness.Required():
		t.Error("not every client was seen")
	case o.missing:
		t.Skip("not every client was seen: the page cannot be compared")
	case *update && !t.Failed():
		if err := os.WriteFile(page, []byte(intro+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%s is not what was observed; run go test ./test/peers -run TestLogins -update (-observed +page):\n%s", page, diff)
		}
	}
}

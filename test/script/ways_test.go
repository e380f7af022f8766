package script

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"postern/internal/mailtest"
)

var update = flag.Bool("update", false, "write the tables of docs/ways-out.md")

// ways are the scenarios of docs/ways-out.md.
const ways = "testdata/ways"

// TestWaysOut runs the scenarios by which mail leaves, and compares what they tell with the
// tables of docs/ways-out.md.
func TestWaysOut(t *testing.T) {
	seen.forget()
	if !t.Run("ways", func(t *testing.T) { testscript.Run(t, params(ways)) }) {
		return
	}
	t.Run("page", func(t *testing.T) {
		for name, text := range map[string]string{"four ways": fourWays(t), "router": routerTable(t), "target servers": targetTable(t)} {
			part := mailtest.PagePart{Page: "../../docs/ways-out.md", Name: name, Command: "go test ./test/script -run TestWaysOut"}
			part.Compare(t, text, *update)
		}
	})
}

// fourWays are the four ways to send mail, each with its scenario.
func fourWays(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| way | configuration | what was observed | scenario |\n|---|---|---|---|\n")
	for _, way := range []struct{ name, scenario string }{
		{"directly to any server on the Internet, by its MX records", "direct"},
		{"to a mailhub that wants a name and a password", "mailhub"},
		{"to a relay that knows this server by its address", "relay-hub"},
		{"to the users of other systems of one's own", "other-systems"},
	} {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", way.name, settingsOf(t, way.scenario), cell(lines(t, way.scenario)), link(way.scenario))
	}
	return b.String()
}

// routerTable shows where mail arrived by the combinations of router, firewall and mailhub.
func routerTable(t *testing.T) string {
	return "| set | at the mailhub | at the router | at its own servers | came back | waits |\n|---|---|---|---|---|---|\n" +
		strings.Join(lines(t, "router"), "\n") + "\n\nThe scenario is " + link("router") + ".\n"
}

// lines are what a scenario of one subject has told.
func lines(t *testing.T, scenario string) []string {
	t.Helper()
	list := seen.of(scenario)
	if len(list) == 0 {
		t.Errorf("the scenario %s has told nothing", scenario)
	}
	return list
}

// settingsOf are the lines of configuration that make a way.
func settingsOf(t *testing.T, scenario string) string {
	t.Helper()
	archive, err := txtar.ParseFile(ways + "/" + scenario + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name != "way.toml" {
			continue
		}
		var list []string
		for line := range strings.Lines(string(f.Data)) {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, "`"+line+"`")
			}
		}
		return strings.Join(list, "<br>")
	}
	t.Fatalf("%s has no file way.toml", scenario)
	return ""
}

// cell is text of several lines in a table.
func cell(lines []string) string {
	return strings.ReplaceAll(strings.Join(lines, "<br>"), "|", "\\|")
}

func link(scenario string) string {
	return fmt.Sprintf("[%s](../test/script/%s/%s.txtar)", scenario, ways, scenario)
}

// target is what CSSMTP's configuration says of target servers, or how they behave, and what it is here.
type target struct {
	name      string // there
	byDefault string // there
	here      string // our setting, or what is the same; "" if there is none
	tests     string // that show it besides scenarios
}

// targets are all parameters of TargetServer, and what is told of target servers.
var targets = []target{
	{name: "TargetIp", byDefault: "–", here: "target.address"},
	{name: "TargetName", byDefault: "–", here: "target.name", tests: "`pool.TestNames`"},
	{name: "TargetMx", byDefault: "–", here: "target.mx", tests: "`pool.TestDomainIsItsServer`"},
	{name: "ConnectPort", byDefault: "25", here: "target.port"},
	{name: "ConnectLimit", byDefault: "5", here: "target.max_connections"},
	{name: "MaxMsgSent", byDefault: "0", here: "target.max_messages"},
	{name: "MessageSize", byDefault: "524288", here: "target.assumed_size", tests: "`pool.TestIncapable`"},
	{name: "Secure", byDefault: "No", here: "target.secure", tests: "`pool.TestSecureTarget`"},
	{name: "Charset, MBCharset", byDefault: "ISO8859-1, –", here: "target.charset", tests: "`message.TestConvertCharset`, `pool.TestCharsets`"},
	{name: "the order in the file", here: "target.preference", tests: "`pool.TestOrder`"},
	{name: "shares", here: "target.weight", tests: "`pool.TestWeights`"},
	{name: "several pools", here: "target.pool", tests: "`pool.TestReload`"},
	{name: "more than four servers"},
	{name: "a server named twice"},
	{name: "several servers behind one virtual address", tests: "`pool.TestVaryingOffers`"},
	{name: "an IPv6 address that does not work"},
	{name: "how a target stands", tests: "`pool.TestFailures`, `pool.TestHalfOpen`"},
	{name: "as whom a target is probed", tests: "`daemon.TestProbeIsAsMail`"},
	{name: "a target fails with a message", tests: "`deliver.TestBrokenOff`"},
	{name: "one message by several targets"},
	{name: "mail needs TLS, and no target offers it", tests: "`pool.TestIncapable`"},
	{name: "a domain needs TLS, and no target offers it", tests: "`pool.TestDomainDemands`"},
	{name: "TLS of a target fails", tests: "`pool.TestTLSFault`"},
	{name: "AUTH is offered before TLS", tests: "`smtpclient.TestAuthIsNoReasonForTLS`"},
	{name: "TLSEhlo", byDefault: "Yes", here: "transport.tls_ehlo", tests: "`smtpclient.TestNoEHLOUnderTLS`"},
	{name: "ConnectRetry", byDefault: "120", here: "transport.connect_retry", tests: "`pool.TestProbes`"},
}

// targetTable has a row for each of targets, and wants each to be shown by something.
func targetTable(t *testing.T) string {
	defaults := settingDefaults(t)
	var b strings.Builder
	b.WriteString("| TargetServer | here | default there | default here | what was observed | scenario or test |\n|---|---|---|---|---|---|\n")
	for _, row := range targets {
		var told, by []string
		for _, one := range seen.about(row.name) {
			told = append(told, one.text)
			if name := link(one.scenario); len(by) == 0 || by[len(by)-1] != name {
				by = append(by, name)
			}
		}
		if row.tests != "" {
			by = append(by, row.tests)
		}
		if len(by) == 0 {
			t.Errorf("nothing shows %q", row.name)
		}
		setting, value := "–", "–"
		if row.here != "" {
			if value = defaults[row.here]; value == "" {
				t.Errorf("%s: docs/configuration.md has no setting %s", row.name, row.here)
			}
			delete(defaults, row.here)
			setting = fmt.Sprintf("[`%s`](configuration.md#%s)", row.here, strings.ReplaceAll(row.here, ".", ""))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.name, setting, dash(row.byDefault), value, dash(cell(told)), strings.Join(by, ", "))
	}
	for key := range defaults {
		if strings.HasPrefix(key, "target.") {
			t.Errorf("the table has no row for the setting %s", key)
		}
	}
	return b.String()
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// settingRow is one of the list of settings in docs/configuration.md.
var settingRow = regexp.MustCompile("(?m)^\\| \\[`([a-z_.]+)`\\]\\([^)]*\\) \\| [^|]* \\| ([^|]*) \\|")

// settingDefaults are the defaults of all settings, as the page of them has them.
func settingDefaults(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := make(map[string]string)
	for _, row := range settingRow.FindAllStringSubmatch(string(page), -1) {
		defaults[row[1]] = row[2]
	}
	return defaults
}

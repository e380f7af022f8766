package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestPagesNameCommandsThatExist: whoever reads a page at night types what it says.
func TestPagesNameCommandsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandsOf(string(text)) {
			found++
			if wrong := wrongIn(line); wrong != "" {
				t.Errorf("%s: %q: %s", filepath.Base(page), line, wrong)
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d commands were found: are they written in another way now?", found)
	}
}

func TestWrongIn(t *testing.T) {
	for line, want := range map[string]string{
		"postern queue list 'age > 4h' --config x": "", "postern status": "", "postern queue retry all": "", "postern sendmail -bp": "",
		"postern queue": "", "postern quue": "there is no command quue", "postern queue lst": "there is no command lst",
		"postern status --jsn": "there is no option --jsn", "postern queue show --limit 3": "there is no option --limit",
	} {
		if got := wrongIn(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

var (
	codeLine   = regexp.MustCompile(`(?m)^ {4,}(?:\$ )?(postern [^#\n]*)`)
	codeInText = regexp.MustCompile("`(postern [^`]*)`")
	option     = regexp.MustCompile(` --([a-z-]+)`)
)

// commandsOf returns the commands of a page, each with its arguments.
func commandsOf(text string) []string {
	var commands []string
	for _, form := range []*regexp.Regexp{codeLine, codeInText} {
		for _, match := range form.FindAllStringSubmatch(text, -1) {
			commands = append(commands, strings.Join(strings.Fields(match[1]), " "))
		}
	}
	return commands
}

// wrongIn returns what is wrong with the command or the options of a line; "" if
// nothing is.
func wrongIn(line string) string {
	command := newRoot(&app{out: &output{Writer: &bytes.Buffer{}}})
	words := strings.Fields(line)[1:]
	for len(words) > 0 {
		next := subcommand(command, words[0])
		if next == nil {
			break
		}
		command, words = next, words[1:]
	}
	if command.HasSubCommands() && len(words) > 0 && regexp.MustCompile(`^[a-z-]+$`).MatchString(words[0]) && !strings.HasPrefix(words[0], "-") {
		return "there is no command " + words[0]
	}
	command.InitDefaultHelpFlag()
	command.InheritedFlags() // merges them into Flags
	for _, match := range option.FindAllStringSubmatch(line, -1) {
		if command.Flags().Lookup(match[1]) == nil && !command.DisableFlagParsing {
			return "there is no option --" + match[1]
		}
	}
	return ""
}

func subcommand(command *cobra.Command, name string) *cobra.Command {
	for _, c := range command.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

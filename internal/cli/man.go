package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/internal/config"
)

// manHelp is about a command for those who make packages.
const manHelp = `Write the manual pages into a directory, which must exist: one for each command,
and postern.toml.5 about the configuration. They are made of the help texts and
of the settings that this program has.`

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{Use: "man DIR", Short: "Write the manual pages", Long: manHelp, Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%s takes a directory; see '%[1]s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, page := range manual(cmd.Root()) {
				if err := os.WriteFile(filepath.Join(args[0], name), []byte(page), 0o644); err != nil {
					return err
				}
			}
			return nil
		}}
}

// manual returns all pages by the names of their files.
func manual(root *cobra.Command) map[string]string {
	pages := map[string]string{configName + ".5": configPage()}
	var add func(*cobra.Command)
	add = func(c *cobra.Command) {
		if !isDocumented(c) {
			return
		}
		pages[pageName(c)+".1"] = commandPage(c)
		for _, sub := range c.Commands() {
			add(sub)
		}
	}
	add(root)
	return pages
}

// isDocumented leaves out what is hidden, and what cobra adds.
func isDocumented(c *cobra.Command) bool {
	return !c.Hidden && c.Name() != "help" && c.Name() != "completion"
}

// pageName is the name of a command's page, such as postern-queue-list.
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

const configName = "postern.toml"

func commandPage(c *cobra.Command) string {
	r := newRoff(pageName(c), "1", c.Short)
	r.section("SYNOPSIS")
	use := strings.ReplaceAll(c.UseLine(), " [flags]", " [OPTIONS]")
	if c.HasAvailableSubCommands() {
		use += " COMMAND"
	}
	r.paragraph(use)
	r.section("DESCRIPTION")
	if c.Long != "" {
		r.prose(c.Long)
	} else {
		r.prose(c.Short + ".")
	}
	see := []string{configName + "(5)"}
	if c.HasParent() {
		see = append(see, pageName(c.Parent())+"(1)")
	}
	if subs := documented(c.Commands()); len(subs) > 0 {
		r.section("COMMANDS")
		for _, sub := range subs {
			r.entry(strings.TrimPrefix(sub.CommandPath(), c.CommandPath()+" "), sub.Short+".")
			see = append(see, pageName(sub)+"(1)")
		}
	}
	r.section("OPTIONS")
	c.InitDefaultHelpFlag()
	r.flags(c.LocalFlags())
	r.flags(c.InheritedFlags())
	r.section("EXIT STATUS")
	r.prose("0 if all went well, 1 if something failed, 2 if the command line is wrong.")
	if !c.HasParent() {
		r.section("FILES")
		r.entry(defaultConfig, "The configuration, unless --config names another.")
	}
	r.seeAlso(see...)
	return r.b.String()
}

func documented(all []*cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, c := range all {
		if isDocumented(c) {
			list = append(list, c)
		}
	}
	return list
}

// flags writes an entry for each option.
func (r *roff) flags(f *pflag.FlagSet) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(flag)
		term := "--" + flag.Name
		if value != "" {
			term += " " + strings.ToUpper(value)
		}
		if flag.Shorthand != "" {
			term = "-" + flag.Shorthand + ", " + term
		}
		if value != "" && flag.DefValue != "" && flag.DefValue != "0" && flag.DefValue != "[]" {
			usage += " (default: " + flag.DefValue + ")"
		}
		r.entry(term, strings.ToUpper(usage[:1])+usage[1:]+".")
	})
}

// configPage is the page about the configuration.
func configPage() string {
	r := newRoff(configName, "5", "Configuration of the mail gateway Postern")
	r.section("SYNOPSIS")
	r.paragraph(defaultConfig)
	r.section("DESCRIPTION")
	r.prose("The file is TOML. It belongs to a person: no program ever rewrites it.\n\n" +
		"What is wrong with it, postern check tells, with its line and column; what is in force and where it stands, postern config show --effective; " +
		"a file with every setting and its default prints postern config example.")
	all, err := config.Describe("")
	if err != nil {
		panic(err) // no name stands for all
	}
	table := "-"
	for i := range all {
		if of, _, _ := strings.Cut(all[i].Key, "."); !strings.Contains(all[i].Key, ".") {
			if i == 0 {
				r.section("SETTINGS AT THE TOP")
			}
		} else if of != table {
			table = of
			r.section("TABLE " + strings.ToUpper(of))
		}
		r.setting(&all[i])
	}
	r.seeAlso("postern(1)", "postern-check(1)", "postern-config(1)")
	return r.b.String()
}

// setting writes an entry for a setting.
func (r *roff) setting(d *config.Description) {
	value := "required"
	if !d.Required {
		value = "default: " + d.Default
	}
	kind := d.Type
	if d.Range != "" {
		kind += ", " + d.Range
	}
	r.entry(d.Key, fmt.Sprintf("%s; %s; takes effect at %s.", kind, value, d.Effect))
	fmt.Fprintf(&r.b, ".IP\n%s\n", roffLine(d.Text))
	for _, w := range d.Words {
		fmt.Fprintf(&r.b, ".IP\n.B %s\n\\(en %s\n", roffText(fmt.Sprintf("%q", w.Word)), roffText(w.Text))
	}
}

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
)

func (a *app) domainCommand() *cobra.Command {
	n := &recordNoun[admin.Domain]{
		app: a, one: "domain", many: "domains", arg: "DOMAIN", of: (*admin.Client).Domains,
		head: "DOMAIN\tANOTHER NAME OF", columns: "name, alias_of",
		row: func(d *admin.Domain) string { return column(d.Name) + "\t" + orDash(d.AliasOf) },
		show: func(d *admin.Domain) {
			a.showFields([]shownField{{"domain", d.Name}, {"stands for", d.AliasOf}})
		},
		settings: func(f *recordFlags) {
			f.text("alias-of", "alias_of", "is another name of this `domain`: each address in it stands for the one with the same local part there; empty for none")
		},
	}
	return group("domain", "The local domains: those whose mail is for this host, and is never sent on", n.verbs()...)
}

func (a *app) aliasCommand() *cobra.Command {
	n := &recordNoun[admin.Alias]{
		app: a, one: "alias", many: "aliases", arg: "ADDRESS", owned: true, of: (*admin.Client).Aliases,
		head: "ADDRESS\tOWNER\tSTANDS FOR", columns: "address, targets, owner",
		row: func(l *admin.Alias) string {
			return column(l.Address) + "\t" + orDash(l.Owner) + "\t" + firstOf(l.Targets)
		},
		show: func(l *admin.Alias) {
			a.showFields([]shownField{{"alias", l.Address}, {"owner", l.Owner}, {"stands for", strings.Join(l.Targets, ", ")}})
		},
		settings: func(f *recordFlags) {
			f.texts("to", "targets", "stands for these `addresses`, separated by commas", asTexts)
			f.text("owner", "owner", "is a personal alias of the user with this `login`: it stands for others in what that user sends")
		},
	}
	return group("alias", "Addresses of local domains that stand for others; @DOMAIN is all of a domain", n.verbs()...)
}

func (a *app) listCommand() *cobra.Command {
	n := &recordNoun[admin.List]{
		app: a, one: "list", many: "lists", arg: "NAME", of: (*admin.Client).Lists,
		head: "NAME\tKIND\tENTRIES\tADDRESS\tPOSTERS", columns: "name, kind, address, owner, posters, entries",
		row: func(l *admin.List) string {
			return fmt.Sprintf("%s\t%s\t%d\t%s\t%s", column(l.Name), l.Kind, l.Size, orDash(l.Address), orDash(string(l.Posters)))
		},
		show: a.showList,
		settings: func(f *recordFlags) {
			f.text("kind", "kind", "what its entries are: the `kind` distribution, networks, domains, addresses or patterns")
			f.text("address", "address", "the `address` of a distribution list")
			f.text("owner", "owner", "the `address` that gets what goes wrong with a distribution list")
			f.text("posters", "posters", "who may send to a distribution list: `who` is everybody, members or accounts")
			f.texts("entry", "entries", "its `entries`, separated by commas, in the place of what was there", asTexts)
		},
	}
	verbs := append(n.verbs(),
		a.entriesCommand("add-entry", "Add entries to a list", func(entries []string) admin.EntryChange { return admin.EntryChange{Add: entries} }),
		a.entriesCommand("remove-entry", "Remove entries from a list", func(entries []string) admin.EntryChange { return admin.EntryChange{Remove: entries} }))
	return group("list", "Distribution lists, and lists that policy asks as list:NAME", verbs...)
}

func (a *app) showList(l *admin.List) {
	a.showFields([]shownField{
		{"list", l.Name}, {"kind", string(l.Kind)}, {"address", l.Address}, {"owner", l.Owner}, {"posters", string(l.Posters)},
	})
	fmt.Fprintf(a.out, "%s\n", several(len(l.Entries), "entry", "entries"))
	for _, e := range l.Entries {
		fmt.Fprintf(a.out, "  %s\n", printable(e))
	}
}

// entriesCommand is a verb that changes the entries of a list.
func (a *app) entriesCommand(verb, short string, change func([]string) admin.EntryChange) *cobra.Command {
	return &cobra.Command{Use: verb + " NAME ENTRY...", Short: short + ": all that are named, or none if one is wrong",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("%s takes the name of a list and entries; see '%[1]s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				done, err := client.ChangeEntries(cmd.Context(), args[0], change(args[1:]))
				if err != nil {
					return err
				}
				return a.say(done, "list %s has %s, and had %d", done.Name, several(done.Entries, "entry", "entries"), done.Before)
			})
		}}
}

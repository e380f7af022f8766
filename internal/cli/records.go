package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/internal/admin"
	"postern/internal/daemon"
)

// recordNoun is the noun of a kind of records, with the verbs that all of these have.
type recordNoun[R any] struct {
	*app
	one, many string
	arg       string // what a record is called by, in a command line
	owned     bool   // whether there are personal ones
	of        func(*admin.Client) admin.RecordsOf[R]
	head      string // of a table
	row       func(*R) string
	show      func(*R)
	// settings are the flags of add and set.
	settings func(*recordFlags)
	columns  string // of a file, for its help
}

// withDirectory gives do a client of the server that runs; without one, of the directory
// itself, which nobody else has open then.
func (a *app) withDirectory(ctx context.Context, do func(*admin.Client) error) error {
	return a.withServer(ctx, func(m daemon.Maintenance) (*admin.Client, io.Closer, error) {
		inside, err := m.Records(ctx)
		if err != nil {
			return nil, nil, err
		}
		return inside.Client, inside, nil
	}, do)
}

// verbs are those that every kind of records has.
func (n *recordNoun[R]) verbs() []*cobra.Command {
	return []*cobra.Command{n.listCommand(), n.showCommand(), n.addCommand(), n.setCommand(), n.deleteCommand(), n.importCommand(), n.exportCommand()}
}

func (n *recordNoun[R]) listCommand() *cobra.Command {
	var q admin.RecordQuery
	c := &cobra.Command{Use: "list [TEXT]", Short: "List the " + n.many + ", in order of their names; with a text, those in whose name or addresses it is",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Limit < 0 {
				return usageError{fmt.Errorf("--limit %d: it is less than nothing", q.Limit)}
			}
			if len(args) > 0 {
				q.Match = args[0]
			}
			return n.withDirectory(cmd.Context(), func(client *admin.Client) error { return n.list(cmd.Context(), client, q) })
		}}
	c.Flags().IntVarP(&q.Limit, "limit", "n", 0, "at most so `many`; 0 for all")
	c.Flags().StringVar(&q.After, "after", "", "begin behind this `name`")
	return c
}

func (n *recordNoun[R]) list(ctx context.Context, client *admin.Client, q admin.RecordQuery) error {
	list := newListing(n.app, n.head)
	err := list.end(n.of(client).Each(ctx, q, func(r *R) error {
		return list.add(r, func(w io.Writer) { fmt.Fprintln(w, n.row(r)) })
	}))
	if err == nil && list.count == 0 && !n.json {
		if q.Match != "" {
			fmt.Fprintf(n.out, "no %s has %q in its name or addresses\n", n.one, printable(q.Match))
			return nil
		}
		fmt.Fprintf(n.out, "there are no %s\n", n.many)
	}
	return err
}

// oneName checks that there is one name.
func (n *recordNoun[R]) oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes one %s; see '%[1]s --help'", cmd.CommandPath(), strings.ToLower(n.arg))}
	}
	return nil
}

// ownerFlag adds the flag that says whose personal record is meant.
func (n *recordNoun[R]) ownerFlag(c *cobra.Command) *string {
	owner := new(string)
	if n.owned {
		c.Flags().StringVar(owner, "owner", "", "the `login` of the user whose personal "+n.one+" it is")
	}
	return owner
}

func (n *recordNoun[R]) showCommand() *cobra.Command {
	var owner *string
	c := &cobra.Command{Use: "show " + n.arg, Short: "Show one " + n.one, Args: n.oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return n.withDirectory(cmd.Context(), func(client *admin.Client) error {
				r, err := n.of(client).Get(cmd.Context(), admin.RecordName{Name: args[0], Owner: *owner})
				if err != nil {
					return err
				}
				return present(n.app, &r, n.show)
			})
		}}
	owner = n.ownerFlag(c)
	return c
}

// recordFlags are what the flags of a command say of a record.
type recordFlags struct {
	*pflag.FlagSet
	cmd   *cobra.Command
	reads []func(fields map[string]any) error
}

// value adds a flag whose value is that of a field.
func (f *recordFlags) value(name, field, usage string, read func(text string) (any, error)) {
	f.String(name, "", usage)
	f.reads = append(f.reads, func(fields map[string]any) error {
		if !f.Changed(name) {
			return nil
		}
		text, _ := f.GetString(name)
		v, err := read(text)
		if err != nil {
			return usageError{fmt.Errorf("--%s %q: %w", name, text, err)}
		}
		put(fields, field, v)
		return nil
	})
}

// put sets a field; "a.b" is the field b in the object a.
func put(fields map[string]any, name string, v any) {
	outer, inner, nested := strings.Cut(name, ".")
	if !nested {
		fields[name] = v
		return
	}
	object, _ := fields[outer].(map[string]any)
	if object == nil {
		object = make(map[string]any)
		fields[outer] = object
	}
	object[inner] = v
}

// text adds a flag of a text.
func (f *recordFlags) text(name, field, usage string) {
	f.value(name, field, usage, func(text string) (any, error) { return text, nil })
}

// texts adds a flag of several texts; an empty one takes them all away.
func (f *recordFlags) texts(name, field, usage string, read func([]string) (any, error)) {
	f.StringSlice(name, nil, usage)
	f.reads = append(f.reads, func(fields map[string]any) error {
		if !f.Changed(name) {
			return nil
		}
		list, _ := f.GetStringSlice(name)
		if len(list) == 1 && list[0] == "" {
			list = nil
		}
		v, err := read(append([]string{}, list...))
		if err != nil {
			return usageError{fmt.Errorf("--%s: %w", name, err)}
		}
		fields[field] = v
		return nil
	})
}

// asTexts takes texts as they are.
func asTexts(list []string) (any, error) { return list, nil }

// fields are what the flags say.
func (f *recordFlags) fields() (map[string]any, error) {
	fields := make(map[string]any)
	var errs []error
	for _, read := range f.reads {
		if err := read(fields); err != nil {
			errs = append(errs, err)
		}
	}
	return fields, errors.Join(errs...)
}

func (n *recordNoun[R]) addCommand() *cobra.Command {
	return n.writeCommand("add", "Add one "+n.one, "is added", func(ctx context.Context, client *admin.Client, name string, fields map[string]any) (admin.Stored[R], error) {
		fields[n.nameField()] = name
		return n.of(client).Add(ctx, fields)
	})
}

// nameField is the field that names a record.
func (n *recordNoun[R]) nameField() string {
	field, _, _ := strings.Cut(n.columns, ",")
	return field
}

func (n *recordNoun[R]) setCommand() *cobra.Command {
	return n.writeCommand("set", "Change one "+n.one+": what is named, and nothing else", "is changed",
		func(ctx context.Context, client *admin.Client, name string, fields map[string]any) (admin.Stored[R], error) {
			owner, _ := fields["owner"].(string)
			if !n.owned {
				owner = ""
			}
			return n.of(client).Change(ctx, admin.RecordName{Name: name, Owner: owner}, fields)
		})
}

// writeCommand is a verb that writes a record.
func (n *recordNoun[R]) writeCommand(verb, short, done string, write func(context.Context, *admin.Client, string, map[string]any) (admin.Stored[R], error)) *cobra.Command {
	var flags recordFlags
	c := &cobra.Command{Use: verb + " " + n.arg, Short: short, Args: n.oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			fields, err := flags.fields()
			if err != nil {
				return err
			}
			if verb == "set" && len(fields) == 0 {
				return usageError{fmt.Errorf("change what? see '%s --help'", cmd.CommandPath())}
			}
			return n.withDirectory(cmd.Context(), func(client *admin.Client) error {
				stored, err := write(cmd.Context(), client, args[0], fields)
				if err != nil {
					return err
				}
				return n.saidStored(&stored, args[0], done)
			})
		}}
	flags = recordFlags{FlagSet: c.Flags(), cmd: c}
	n.settings(&flags)
	return c
}

// saidStored says what was done, and warns of what is unwise.
func (n *recordNoun[R]) saidStored(stored *admin.Stored[R], name, done string) error {
	err := n.say(stored, "%s %s %s", n.one, name, done)
	for _, w := range stored.Warnings {
		fmt.Fprintln(n.err, "WARNING:", printable(w))
	}
	return err
}

func (n *recordNoun[R]) deleteCommand() *cobra.Command {
	var owner *string
	c := &cobra.Command{Use: "delete " + n.arg + "...", Short: "Delete " + n.many, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return n.withDirectory(cmd.Context(), func(client *admin.Client) error {
				for _, name := range args {
					if err := n.of(client).Delete(cmd.Context(), admin.RecordName{Name: name, Owner: *owner}); err != nil {
						return err
					}
					if err := n.say(map[string]string{"deleted": name}, "%s %s is deleted", n.one, name); err != nil {
						return err
					}
				}
				return nil
			})
		}}
	owner = n.ownerFlag(c)
	return c
}

const importHelp = `Make %s of what a file says, or with "-" standard input: all of it or, when
anything is wrong, nothing. What is wrong is told with file, line and column, all of
it up to 100.

A file of CSV names its columns in the first line:
  %s
Several values in one column are separated by ";". Of a record that is there already,
columns that the file has not stay as they are. A file whose name ends in .json is a
document as "export --format json" writes it.

With --replace the %[1]s that the file has not are deleted.`

func (n *recordNoun[R]) importCommand() *cobra.Command {
	var i admin.RecordImport
	var format string
	c := &cobra.Command{Use: "import FILE", Short: "Make " + n.many + " of a file of CSV or JSON: all, or none if one is wrong",
		Long: fmt.Sprintf(importHelp, n.many, n.columns),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%s takes a file, or - for standard input; see '%[1]s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if i.Format, err = formatOf(format, args[0]); err != nil {
				return err
			}
			file, in := args[0], cmd.InOrStdin()
			if file == "-" {
				file = "standard input"
			} else {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return n.withDirectory(cmd.Context(), func(client *admin.Client) error { return n.importFile(cmd.Context(), client, i, in, file) })
		}}
	c.Flags().BoolVar(&i.Replace, "replace", false, "delete what the file has not")
	c.Flags().BoolVar(&i.DryRun, "dry-run", false, "say what would be done, and change nothing")
	c.Flags().StringVar(&format, "format", "", "csv or json; without it the `form` that the name of the file says, else csv")
	return c
}

// formatOf is the form of a file.
func formatOf(format, file string) (admin.Format, error) {
	switch format {
	case "":
		if ext := strings.ToLower(filepath.Ext(file)); ext == ".json" {
			return admin.FormatJSON, nil
		}
		return admin.FormatCSV, nil
	case string(admin.FormatCSV), string(admin.FormatJSON):
		return admin.Format(format), nil
	}
	return "", usageError{fmt.Errorf("--format %q: it is csv or json", format)}
}

func (n *recordNoun[R]) importFile(ctx context.Context, client *admin.Client, i admin.RecordImport, in io.Reader, file string) error {
	content := bufio.NewReader(in)
	if _, err := content.Peek(1); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s is empty: it has neither records nor the names of columns", file)
	}
	done, err := n.of(client).Import(ctx, i, content)
	if problem, ok := errors.AsType[*admin.Problem](err); ok && len(problem.Faults) > 0 {
		return importErrors(problem, file)
	}
	if err != nil {
		return err
	}
	verb := "imported"
	if i.DryRun {
		verb = "nothing was changed; it would be"
	}
	return n.say(done, "%s: %s added, %d changed, %d deleted, %d as before", verb, several(done.Created, n.one, n.many), done.Changed, done.Removed, done.Same)
}

// importErrors are all that is wrong in a file, a line each.
func importErrors(p *admin.Problem, file string) error {
	problems := make([]error, len(p.Faults))
	for i := range p.Faults {
		found := p.Faults[i].Problem(file)
		problems[i] = errors.New(found.String())
	}
	return errors.Join(append(problems, errors.New(p.Detail))...)
}

func (n *recordNoun[R]) exportCommand() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "export", Short: "Write all " + n.many + " to standard output, as import reads them", Args: noArguments,
		Long: "Write all " + n.many + " to standard output, in the form in which import reads them.\nNothing that is secret is in it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := formatOf(format, "")
			if err != nil {
				return err
			}
			if n.json && format == "" {
				f = admin.FormatJSON
			}
			return n.withDirectory(cmd.Context(), func(client *admin.Client) error { return n.of(client).Export(cmd.Context(), f, n.out) })
		}}
	c.Flags().StringVar(&format, "format", "", "the `form`: csv, or json (default: csv)")
	return c
}

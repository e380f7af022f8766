package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
)

func (a *app) quarantinePartsCommand() *cobra.Command {
	var part, file string
	c := &cobra.Command{Use: "parts ID", Short: "List the parts of one message, or save one of them to a file", Args: oneID,
		Long: `List the MIME parts of a message, as far as readers of mail may see them: where
they differ, each type and name that one of them takes. What is wrong with a part
stands below it; then no filter can be sure of it.

With --part and --save the decoded content of one part is written to a file that
does not exist yet. It is never opened or executed, and what the part says of its
name has no part in that: open it where it can do no harm.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id := mail.ID(args[0])
			switch {
			case (part == "") != (file == ""):
				return usageError{errors.New("--part and --save belong together: which part, and to which file")}
			case part != "":
				return a.savePart(cmd.Context(), id, part, file)
			}
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.Parts, error) {
				return c.Parts(ctx, id)
			}, a.showParts)
		}}
	c.Flags().StringVar(&part, "part", "", "the `part` to save, as the list has it: 1.2")
	c.Flags().StringVar(&file, "save", "", "the `file` to save it to; it must not exist")
	return c
}

func (a *app) showParts(p *admin.Parts) {
	table := newTable(a.out)
	fmt.Fprintln(table, "PART\tTYPE\tNAME\tENCODING\tSIZE")
	for i := range p.Parts {
		part := &p.Parts[i]
		length := size(part.Size)
		if part.Size == 0 {
			length = "-"
		}
		fmt.Fprintf(table, "%s%s\t%s\t%s\t%s\t%s\n", strings.Repeat("  ", strings.Count(part.Path, ".")), part.Path,
			alternatives(part.Types), alternatives(part.Names), alternatives(part.Encodings), length)
	}
	_ = table.Flush() // a.out remembers a failure
	if p.Readable {
		fmt.Fprintln(a.out, "it can be read with certainty")
		return
	}
	fmt.Fprintln(a.out, "IT CANNOT BE READ WITH CERTAINTY:")
	for i := range p.Parts {
		for _, d := range p.Parts[i].Defects {
			fmt.Fprintf(a.out, "  part %s: %s\n", p.Parts[i].Path, printable(string(d)))
		}
	}
}

// alternatives are values of which readers of mail take one or another.
func alternatives(values []string) string {
	if len(values) == 0 {
		return "-"
	}
	return column(strings.Join(values, " | "))
}

// savedPart is what is said of a part that was saved.
type savedPart struct {
	Part   string `json:"part"`
	File   string `json:"file"`
	Octets int64  `json:"octets"`
}

// savePart writes the content of a part to a new file that only its owner can
// read. What could not be written whole is removed.
func (a *app) savePart(ctx context.Context, id mail.ID, part, path string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	content, err := client.Part(ctx, id, part)
	if err != nil {
		return err
	}
	defer content.Close()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already; name a file that does not", path)
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(file, content)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("part %s of %s was not saved: %w", part, id, err), os.Remove(path))
	}
	return a.say(savedPart{part, path, n}, "part %s is saved to %s, %s; it may be dangerous", part, path, size(n))
}

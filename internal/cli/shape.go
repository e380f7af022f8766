package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
)

func (a *app) queueShapeCommand() *cobra.Command {
	var top int
	c := &cobra.Command{Use: "shape [FILTER]", Short: "Tell how many recipients wait, by destination and age", Args: cobra.ArbitraryArgs,
		Long: "Tell how many recipients wait: a row for each of the largest destinations, a\ncolumn for each span of age.\n\n" + filterHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if top < 0 || top > admin.MaxPage {
				return usageError{fmt.Errorf("--top %d: it must be from 0 to %d", top, admin.MaxPage)}
			}
			filter, err := filterOf(args)
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (admin.Shape, error) {
				bar := newCounter(a.err, "messages")
				defer bar.end()
				return c.Shape(ctx, filter, top, bar.show)
			}, a.showShape)
		}}
	c.Flags().IntVarP(&top, "top", "n", 20, "`number` of destinations with a row of their own")
	return c
}

func (a *app) showShape(s *admin.Shape) {
	if s.Total.Recipients == 0 {
		fmt.Fprintln(a.out, "nobody waits")
		return
	}
	table := newTable(a.out)
	fmt.Fprint(table, "DESTINATION\tALL\tQUEUED\tDEFERRED\tHELD")
	for _, seconds := range s.Ages {
		fmt.Fprintf(table, "\t<%s", span(time.Duration(seconds)*time.Second))
	}
	fmt.Fprintln(table, "\tOLDER")
	printShapeRow(table, "all", &s.Total)
	for i := range s.Rows {
		printShapeRow(table, column(string(s.Rows[i].Destination)), &s.Rows[i])
	}
	if s.Others.Recipients > 0 {
		printShapeRow(table, several(s.Destinations-len(s.Rows), "other", "others"), &s.Others)
	}
	_ = table.Flush() // a.out remembers a failure
	if s.Estimated {
		fmt.Fprintln(a.out, "there are so many destinations that a row may lack some recipients, which are among the others")
	}
}

func printShapeRow(w io.Writer, name string, r *admin.ShapeRow) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d", name, r.Recipients, r.States[mail.Queued], r.States[mail.Deferred], r.States[mail.Held])
	for _, n := range r.Ages {
		fmt.Fprintf(w, "\t%s", dotted(n))
	}
	fmt.Fprintln(w)
}

// dotted leaves zeros out, so that the shape is seen.
func dotted(n int) string {
	if n == 0 {
		return "."
	}
	return fmt.Sprint(n)
}

// span writes a duration in its one unit: "15m", "3d".
func span(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%dd", days)
	}
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/config"
	"postern/internal/daemon"
)

// checkHelp says what check does and how it ends.
const checkHelp = `Build everything that the configuration names, without starting anything, and
report all that is wrong and all that is allowed but unwise. Nothing is made,
locked or connected to, so that it can be run beside the server. Run it as the
user that the server runs as.

Ends with
  0  nothing is wrong; there may be warnings
  1  something is wrong; or there are warnings, and --strict was given
  2  the command line is wrong`

func (a *app) checkCommand() *cobra.Command {
	var askDNS, strict bool
	command := &cobra.Command{Use: "check", Short: "Check the configuration and all that it names, without starting anything", Long: checkHelp, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.check(cmd.Context(), askDNS)
			if a.json {
				err = errors.Join(a.printJSON(f), err)
			} else {
				a.printFinding(f)
			}
			if err == nil && strict && len(f.Warnings) > 0 {
				err = fmt.Errorf("%s, and --strict allows none", several(len(f.Warnings), "warning", "warnings"))
			}
			return err
		}}
	command.Flags().BoolVar(&askDNS, "dns", false, "also ask DNS: for this host's name, the smarthosts, and at each of dns.servers")
	command.Flags().BoolVar(&strict, "strict", false, "fail when there are warnings")
	return command
}

// finding is what check says of a configuration.
type finding struct {
	Good     bool             `json:"good"`
	Files    []string         `json:"files"` // that were read; none if it is not good
	Problems []config.Problem `json:"problems"`
	Warnings []config.Problem `json:"warnings"`
}

// check fails when the configuration is not good.
func (a *app) check(ctx context.Context, askDNS bool) (finding, error) {
	f := finding{Files: []string{}, Problems: []config.Problem{}, Warnings: []config.Problem{}}
	c, err := a.load()
	if err != nil {
		f.Problems = problemsOf(err)
		return f, err
	}
	options := daemon.Options{Version: version}
	found := daemon.Check(c, options)
	f.Warnings = append(f.Warnings, found.Warnings...)
	f.Problems = append(f.Problems, found.Problems...)
	if askDNS && len(f.Problems) == 0 {
		f.Warnings = append(f.Warnings, daemon.CheckDNS(ctx, c, options)...)
	}
	config.SortProblems(f.Warnings, c.Files)
	config.SortProblems(f.Problems, c.Files)
	if len(f.Problems) > 0 {
		return f, &config.Errors{Problems: f.Problems}
	}
	f.Good, f.Files = true, c.Files
	return f, nil
}

// problemsOf returns what is wrong with a configuration that does not load.
func problemsOf(err error) []config.Problem {
	if e, ok := errors.AsType[*config.Errors](err); ok {
		return e.Problems
	}
	return []config.Problem{{Message: err.Error()}}
}

// printFinding prints what is not an error.
func (a *app) printFinding(f finding) {
	switch {
	case f.Good && len(f.Files) > 1:
		fmt.Fprintf(a.out, "%s is good, with %s\n", printable(a.config), several(len(f.Files)-1, "file that it includes", "files that it includes"))
	case f.Good:
		fmt.Fprintln(a.out, printable(a.config), "is good")
	}
	for _, w := range f.Warnings {
		fmt.Fprintln(a.out, "warning:", printable(w.String()))
	}
}

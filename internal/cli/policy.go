package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/daemon"
	"postern/internal/policytest"
)

const policyTestHelp = `Run cases that say what is to become of a message, under the policy of the
configuration file: one or more files, or without any those of policy_tests.
Nothing is sent, and no server is needed. docs/policy.md tells how cases are
written.

Ends with
  0  all is as expected
  1  something is not, or a file is wrong
  2  the command line is wrong`

func (a *app) policyCommand() *cobra.Command {
	var askDNS bool
	test := &cobra.Command{Use: "test [FILE...]", Short: "Run cases of your own: what is to become of a message", Long: policyTestHelp, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			if len(files) == 0 {
				if files, err = daemon.PolicyTests(c); err != nil {
					return err
				}
			}
			if len(files) == 0 {
				return usageError{fmt.Errorf("name a file with cases, or set policy_tests in %s", a.config)}
			}
			server, err := daemon.Explainer(c, askDNS)
			if err != nil {
				return err
			}
			results := []policytest.Result{}
			for _, file := range files {
				r, err := policytest.Run(cmd.Context(), server, file)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
			return a.tested(results)
		}}
	test.Flags().BoolVar(&askDNS, "dns", false, "ask block lists about the clients")
	return group("policy", "Look after the rules for mail", test)
}

// tested prints what came of cases, and fails when one has failed.
func (a *app) tested(results []policytest.Result) error {
	cases := 0
	var failures []string
	for i := range results {
		cases += results[i].Cases
		for j := range results[i].Failures {
			failures = append(failures, results[i].Failures[j].String())
		}
	}
	if a.json {
		if err := a.printJSON(results); err != nil {
			return err
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%s\n%s of %s not met", strings.Join(failures, "\n"), several(len(failures), "expectation", "expectations"), several(cases, "case", "cases"))
	}
	if !a.json {
		fmt.Fprintf(a.out, "%s: all is as expected\n", several(cases, "case", "cases"))
	}
	return nil
}

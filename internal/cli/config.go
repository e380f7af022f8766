package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "What can be configured", a.configDescribeCommand(), a.configExampleCommand())
}

func (a *app) configDescribeCommand() *cobra.Command {
	return &cobra.Command{Use: "describe [KEY]", Short: "Describe a setting, such as listener.trust, or a table; without a name, all settings",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes the name of one setting or table; see '%[1]s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				fmt.Fprint(a.out, config.Reference())
				return nil
			}
			text, err := config.Describe(args[0])
			if err != nil {
				return usageError{err}
			}
			fmt.Fprint(a.out, text)
			return nil
		}}
}

func (a *app) configExampleCommand() *cobra.Command {
	return &cobra.Command{Use: "example", Short: "Print a configuration file with every setting and its default", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprint(a.out, config.Example())
			return nil
		}}
}

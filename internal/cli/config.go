package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"postern/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "What can be configured, and what is", a.configDescribeCommand(), a.configShowCommand(), a.configExampleCommand())
}

func (a *app) configDescribeCommand() *cobra.Command {
	return &cobra.Command{Use: "describe [KEY]", Short: "Describe a setting, such as listener.trust, a table, or all that begin so; without a name, all settings",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes the name of one setting or table; see '%[1]s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			list, err := config.Describe(name)
			switch {
			case err != nil:
				return usageError{err}
			case a.json:
				return a.printJSON(list)
			case len(args) == 0:
				fmt.Fprint(a.out, config.Reference())
			default:
				fmt.Fprint(a.out, config.WriteDescription(list))
			}
			return nil
		}}
}

func (a *app) configShowCommand() *cobra.Command {
	var effective bool
	command := &cobra.Command{Use: "show", Short: "Print the settings of the configuration, each with the place where it stands", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			list := c.Effective()
			if !effective {
				list = slices.DeleteFunc(list, func(e config.Effective) bool { return !e.IsSet() })
			}
			return present(a, &list, func(list *[]config.Effective) { fmt.Fprint(a.out, config.WriteEffective(*list)) })
		}}
	command.Flags().BoolVar(&effective, "effective", false, "also those that have their default")
	return command
}

func (a *app) configExampleCommand() *cobra.Command {
	return &cobra.Command{Use: "example", Short: "Print a configuration file with every setting and its default", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprint(a.out, config.Example())
			return nil
		}}
}

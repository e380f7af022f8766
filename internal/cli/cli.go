// Package cli is the command line: a noun, a verb, and --json for programs.
// It holds no decision about mail; it asks the running server and shows what
// it says.
//
// A command that fails says what was wrong on standard error, in one line (a
// configuration: a line for each problem), and ends with 1; a mistake in the
// command line itself ends with 2; sendmail has exit codes of its own. What came from outside never reaches a
// terminal as it is, in JSON neither.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/submit"
)

// version is set by the linker.
var version = "dev"

// defaultConfig is where the configuration is looked for.
const defaultConfig = "/etc/postern/postern.toml"

// app is one run of the program.
type app struct {
	out    *output
	err    io.Writer
	config string // --config
	socket string // --socket
	json   bool   // --json
	broken error  // what is wrong with the configuration, if its socket was used nevertheless
	ids    mail.IDs
}

// output is standard output. It remembers that it failed, so that a command
// that prints fails once, at its end.
type output struct {
	io.Writer
	err error
}

// Write writes, unless that has failed before.
func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.Writer.Write(p)
	o.err = err
	return n, err
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// Main runs the program with its arguments and returns its exit code. The
// first interrupt ends the command in good order, a second one at once.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := untilInterrupted()
	defer stop()
	a := &app{out: &output{Writer: out}, err: errOut}
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil && a.out.err != nil:
		err = fmt.Errorf("cannot write the output: %w", a.out.err)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		err = errors.New("interrupted")
	}
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(errOut, "postern:", printable(line))
	}
	if errors.Is(err, admin.ErrNotRunning) {
		a.sayHowToStart()
	}
	if failed, ok := errors.AsType[*submit.Error](err); ok {
		return int(failed.Code)
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// sayHowToStart says how a server is started, and what would keep it from that.
func (a *app) sayHowToStart() {
	if a.broken != nil {
		for line := range strings.SplitSeq(a.broken.Error(), "\n") {
			fmt.Fprintln(a.err, "postern: it would not start:", printable(line))
		}
	}
	fmt.Fprintf(a.err, "postern: start it with `systemctl start postern`, or `postern serve --config %s`\n", a.config)
}

// untilInterrupted returns a context that the first interrupt ends. By then a
// second one does what it does by default: it ends the process. Stop frees
// what it took.
func untilInterrupted() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-interrupts:
			signal.Stop(interrupts) // before anybody can see that the first was heard
			cancel()
		case <-ctx.Done():
			signal.Stop(interrupts)
		}
	})
	return ctx, func() {
		cancel()
		waiting.Wait()
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "A mail gateway for applications",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		// Without a command, cobra shows the help.
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// What stands before `sendmail` is this command's, and what stands behind it sendmail's.
		TraverseChildren: true,
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&a.config, "config", "c", defaultConfig, "configuration `file`")
	flags.StringVar(&a.socket, "socket", "", "administrative `socket` of the server (default: the one in the configuration)")
	flags.BoolVar(&a.json, "json", false, "print JSON, for programs")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		a.serveCommand(), a.checkCommand(), a.configCommand(), a.tryCommand(), a.demoCommand(),
		a.statusCommand(), a.stopCommand(), a.reloadCommand(), a.listenerCommand(), a.logLevelCommand(), a.queueCommand(), a.quarantineCommand(), a.siteCommand(), a.targetCommand(), a.certCommand(), a.dkimCommand(), a.userCommand(), a.domainCommand(), a.aliasCommand(), a.listCommand(), a.banCommand(), a.credentialCommand(), a.sendersCommand(), a.suspendCommand(), a.resumeCommand(),
		a.explainCommand(), a.policyCommand(), a.oidcCommand(), a.ldapCommand(), a.storeCommand(), a.backupCommand(), a.restoreCommand(), a.journalCommand(), a.selftestCommand(),
		a.sendmailCommand(), a.manCommand(), a.versionCommand(),
	)
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown argument %q", args[0])
	if cmd.HasSubCommands() {
		err = fmt.Errorf("unknown command %q", args[0])
	}
	return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes the id of one message; see '%[1]s --help'", cmd.CommandPath())}
	}
	if _, err := mail.ParseID(args[0]); err != nil {
		return usageError{err}
	}
	return nil
}

// group returns a noun: a command that only has verbs below it.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	noun := &cobra.Command{Use: use, Short: short, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	noun.AddCommand(verbs...)
	return noun
}

// load reads the configuration file.
func (a *app) load() (*config.Config, error) {
	c, err := config.LoadFile(a.config)
	if _, read := errors.AsType[*config.Errors](err); errors.Is(err, fs.ErrNotExist) && !read {
		return nil, fmt.Errorf("%w (--config names another file)", err)
	}
	return c, err
}

// client returns the way to the running server: by --socket, else by the
// configuration. One that is wrong is good enough if the socket can be told from
// it: a server that runs with what was there before must be told, and seen, above
// all then.
func (a *app) client() (*admin.Client, error) {
	if a.socket != "" {
		return admin.NewClient(a.socket), nil
	}
	c, err := config.LoadFile(a.config)
	if err == nil {
		return admin.NewClient(c.Socket()), nil
	}
	wrong, ok := errors.AsType[*config.Errors](err)
	if !ok {
		return nil, fmt.Errorf("cannot tell the server's socket (name it with --socket, or the configuration with --config): %w", err)
	}
	a.broken = wrong
	return admin.NewClient(wrong.Socket), nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": version, "go": goVersion()})
			}
			fmt.Fprintln(a.out, "postern", version, goVersion())
			return nil
		}}
}

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return ""
}

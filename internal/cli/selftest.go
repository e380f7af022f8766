package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"postern/internal/selftest"
)

func (a *app) selftestCommand() *cobra.Command {
	return group("selftest", "Find out what this machine is good for", a.durabilityCommand(), a.acceptCommand())
}

// errMailLost is the end of a test that lost mail.
var errMailLost = errors.New("mail was lost; see above")

func (a *app) durabilityCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "durability", Short: "Measure how a disk syncs, and kill a process that accepts mail on it", Args: noArguments,
		Long: `Measure how long a sync takes on a disk and how many messages a second are
committed to it, and kill a process that accepts mail on it again and again, to
see whether all that it acknowledged is there. It takes some ten seconds, more on
a slow disk, writes some hundred MiB to a directory of its own in the one that is
tested, and removes that; it touches nothing else there.

It ends with 0 when nothing was lost, also after warnings, such as that the disk
seems to keep nothing when the power is cut; and with 1 when mail was lost, or
nothing could be measured.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := a.testedDirectory(dir)
			if err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.out, "directory: %s, %s\n", printable(where.dir), where.why)
			}
			return a.testDurability(cmd.Context(), where.dir)
		}}
	c.Flags().StringVar(&dir, "dir", "", "test the disk of this `directory` (default: data_dir of the configuration, else the one for temporary files)")
	return c
}

// tested is a directory, and why that one.
type tested struct{ dir, why string }

// testedDirectory chooses what to test: what was asked for, else the data_dir
// of a configuration, if there is one.
func (a *app) testedDirectory(asked string) (tested, error) {
	if asked != "" {
		return tested{asked, "as asked for"}, nil
	}
	c, err := a.load()
	switch {
	case err == nil:
		return tested{c.DataDir, "which is data_dir in " + a.config}, nil
	case errors.Is(err, fs.ErrNotExist) && a.config == defaultConfig:
		return tested{os.TempDir(), "since there is no configuration; --dir names another"}, nil
	}
	return tested{}, fmt.Errorf("cannot tell data_dir (name a directory with --dir): %w", err)
}

// testDurability runs the test and shows what it found.
func (a *app) testDurability(ctx context.Context, dir string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	progress := newProgress(a.err)
	report, err := selftest.Run(ctx, selftest.Options{
		Dir:      dir,
		Progress: progress.step,
		Child: func(dir string) *exec.Cmd {
			return &exec.Cmd{Path: program, Args: []string{os.Args[0], "selftest", "accept", "--dir", dir}}
		},
	})
	progress.end()
	if err != nil {
		return err
	}
	err = present(a, &report, a.showDurability)
	if err == nil && report.Failed() {
		err = errMailLost
	}
	return err
}

func (a *app) showDurability(r *selftest.Report) {
	fmt.Fprintf(a.out, "file system: %s, %s free\n", r.FileSystem.Name, size(r.FileSystem.Free))
	a.showSyncs("within a file", &r.Overwrite)
	a.showSyncs("making a file longer", &r.Append)
	for _, c := range r.Commits {
		fmt.Fprintf(a.out, "committing 4 KiB from %d at once: %.0f messages/s, %.1f in each sync\n", c.Writers, c.PerSecond, c.PerSync)
	}
	k := &r.Kills
	fmt.Fprintf(a.out, "killed %d times: %d messages acknowledged, %d delivered; %d lost, %d changed, %d came back\n\n",
		k.Kills, k.Acknowledged, k.Settled, k.Lost, k.Changed, k.Returned)
	for _, f := range r.Findings {
		fmt.Fprintf(a.out, "%s: %s\n", f.Level, f.Text)
	}
}

func (a *app) showSyncs(what string, s *selftest.Syncs) {
	fmt.Fprintf(a.out, "writing and syncing 4 KiB %s: median %v, from %v to %v, 99 of 100 within %v\n",
		what, selftest.Short(s.Median), selftest.Short(s.Min), selftest.Short(s.Max), selftest.Short(s.P99))
}

// acceptCommand is the process that is killed. It ends when whoever started
// it does, which shows at its standard input.
func (a *app) acceptCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "accept", Hidden: true, Short: "Accept and deliver made-up mail until killed, for durability", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin()) // that it fails is an end too
				cancel()
			}()
			return selftest.Accept(ctx, dir, a.out)
		}}
	c.Flags().StringVar(&dir, "dir", "", "the `directory` of the store")
	return c
}

// progress is a line on a terminal that says what is being done.
type progress struct{ out io.Writer }

// newProgress returns a progress that is shown if out is a terminal.
func newProgress(out io.Writer) progress {
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return progress{out}
		}
	}
	return progress{io.Discard}
}

// eraseLine brings a terminal back to the beginning of an empty line.
const eraseLine = "\r\x1b[K"

func (p progress) step(what string) { fmt.Fprint(p.out, eraseLine, what, " ...") }

func (p progress) end() { fmt.Fprint(p.out, eraseLine) }

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/submit"
)

// Arguments returns the arguments of a program that was called by some name:
// as sendmail, mailq or newaliases it is `postern sendmail`.
func Arguments(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	switch filepath.Base(argv[0]) {
	case "sendmail":
		return append([]string{"sendmail"}, argv[1:]...)
	case "mailq":
		return append([]string{"sendmail", "-bp"}, argv[1:]...)
	case "newaliases":
		return append([]string{"sendmail", "-bi"}, argv[1:]...)
	}
	return argv[1:]
}

const sendmailHelp = `Send a message from standard input, with the options that programs use of
sendmail:

  -t         take the recipients in To, Cc and Bcc, too
  -i, -oi    a line with a single dot does not end the message
  -f, -r     the sender's address (envelope), for what cannot be delivered
  -F         the sender's full name, for a message without From
  -N, -R, -V what to report, how much of the message to return, an id
  -bs        speak SMTP on standard input and output
  -bp        list the queue, as mailq does
  -C         where the server is: its configuration file, or submission.directory
  --         ends the options

Others are ignored or refused as Postfix does it; docs/sendmail.md has all. The
exit code is 0 when the message is on stable storage, else one of sysexits.h.`

func (a *app) sendmailCommand() *cobra.Command {
	return &cobra.Command{
		Use: "sendmail [option...] [recipient...]", Short: "Send a message, as sendmail does", Long: sendmailHelp,
		Args:               cobra.ArbitraryArgs,
		DisableFlagParsing: true, // its options are not those of the other commands
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return cmd.Help()
			}
			if cmd.Flags().Changed("config") {
				args = append([]string{"-C", a.config}, args...) // one of sendmail's own goes before it
			}
			return a.sendmail(cmd.Context(), args, cmd.InOrStdin())
		}}
}

func (a *app) sendmail(ctx context.Context, args []string, in io.Reader) error {
	c, err := submit.ParseCommand(args)
	if err != nil {
		return err
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(a.err, "postern: warning:", printable(w))
	}
	switch c.Mode {
	case submit.Nothing:
		return nil
	case submit.List:
		return a.mailq(ctx, c.Where)
	}
	client := submit.Caller()
	if client.Directory, err = directory(c.Where); err != nil {
		return err
	}
	if c.Mode == submit.Session {
		return client.Talk(ctx, in, a.out)
	}
	return client.Post(ctx, c, in)
}

// directoryVariable names the directory of submission, for programs of users.
const directoryVariable = "POSTERN_SUBMISSION"

// directory returns the directory of submission: the one that was named, or
// that of the configuration that was named; else that of the environment; else
// the default. The configuration of the server is not looked for: not every
// user can read it, and all users must find the same.
func directory(where string) (submit.Directory, error) {
	if where == "" {
		if set := os.Getenv(directoryVariable); set != "" {
			return submit.Directory(set), nil
		}
		return submit.DefaultDirectory, nil
	}
	info, err := os.Stat(where)
	if err != nil {
		return "", &submit.Error{Code: submit.Config, Err: err}
	}
	if info.IsDir() {
		return submit.Directory(where), nil
	}
	c, err := config.LoadFile(where)
	if err == nil && c.Submission.Directory == "" {
		err = fmt.Errorf("%s: submission.directory is not set: the server takes no mail by sendmail", where)
	}
	if err != nil {
		return "", &submit.Error{Code: submit.Config, Err: err}
	}
	return submit.Directory(c.Submission.Directory), nil
}

// mailq lists the queue as Postfix does.
func (a *app) mailq(ctx context.Context, where string) error {
	if where != "" {
		a.config = where
	}
	client, err := a.client()
	if err != nil {
		return &submit.Error{Code: codeOf(err), Err: err}
	}
	if err := a.printMailq(ctx, client); err != nil {
		return &submit.Error{Code: codeOf(err), Err: err}
	}
	return nil
}

func codeOf(err error) submit.ExitCode {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return submit.NoPerm
	case errors.Is(err, admin.ErrNotRunning):
		return submit.Unavailable
	case errors.As(err, new(*config.Errors)), errors.Is(err, fs.ErrNotExist):
		return submit.Config
	}
	return submit.TempFail
}

// The columns are those of Postfix's mailq with long queue ids: programs read
// them.
const (
	mailqHead      = "-Queue ID-        --Size-- ----Arrival Time---- -Sender/Recipient-------"
	mailqEntry     = "%-17s %8d %-20s %s\n"
	mailqRecipient = "%-17s %8s %-20s %s\n"
	mailqTime      = "Mon Jan _2 15:04:05"
)

func (a *app) printMailq(ctx context.Context, client *admin.Client) error {
	var count int
	var octets int64
	err := client.List(ctx, admin.Listing{}, func(queue.Progress) {}, func(e *queue.Entry) error {
		if count == 0 {
			fmt.Fprintln(a.out, mailqHead)
		}
		a.printMailqEntry(e)
		count++
		octets += e.Size
		return a.out.err
	})
	if err != nil {
		return err
	}
	if count == 0 {
		fmt.Fprintln(a.out, "Mail queue is empty")
		return nil
	}
	fmt.Fprintf(a.out, "-- %d Kbytes in %s.\n", (octets+1023)/1024, several(count, "Request", "Requests"))
	return nil
}

// printMailqEntry prints a message, and under each reason for which recipients
// wait these recipients. "!" behind the id says that all of it is held.
func (a *app) printMailqEntry(e *queue.Entry) {
	id := string(e.ID)
	if held(e) {
		id += "!"
	}
	sender := e.Envelope.From.String()
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	fmt.Fprintf(a.out, mailqEntry, id, e.Size, e.Accepted.In(time.Local).Format(mailqTime), printable(sender))
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			r := &e.Deliveries[i].Recipients[j]
			if why := waitsFor(r); why != "" {
				fmt.Fprintln(a.out, printable("("+why+")"))
			}
			fmt.Fprintf(a.out, mailqRecipient, "", "", "", printable(r.Address.String()))
		}
	}
	fmt.Fprintln(a.out)
}

func held(e *queue.Entry) bool {
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			if e.Deliveries[i].Recipients[j].State != mail.Held {
				return false
			}
		}
	}
	return true
}

// waitsFor says why a recipient waits; "" when it has not been tried yet.
func waitsFor(r *queue.Recipient) string {
	if r.Last == nil {
		return ""
	}
	return strings.TrimSpace(answer(speaker{r.Last.Host, r.Last.Remote}, r.Last.Command, r.Last.Reply))
}

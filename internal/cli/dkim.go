package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/alignment"
	"postern/internal/daemon"
	"postern/internal/dkim"
)

// askKeys asks the server for keys, or if none runs one that works on its files.
func askKeys[T any](ctx context.Context, a *app, question func(*admin.Client, context.Context) (T, error)) (T, error) {
	return askEither(ctx, a, daemon.Maintenance.SigningKeys, question)
}

func (a *app) dkimCommand() *cobra.Command {
	return group("dkim", "Look after the keys by which mail is signed (DKIM), and what DNS says of them",
		group("key", "Make, list and remove keys", a.dkimAddCommand(), a.dkimListCommand(), a.dkimRemoveCommand()),
		a.dkimRecordCommand(), a.dkimRotateCommand(), a.dkimCheckCommand())
}

// oneDomain checks that there is a domain.
func oneDomain(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes one domain; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

// keyOrder are the flags of commands that make keys.
type keyOrder struct {
	dkim.KeyOrder
	file string
}

func (o *keyOrder) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.Selector, "selector", "", "the `selector`, which is its name in DNS; by default one with the date")
	f.StringVar((*string)(&o.Algorithm), "algorithm", "", "the `kind` of key: rsa or ed25519; by default one of each, and with --selector rsa")
	f.IntVar(&o.Bits, "bits", 0, "the size of an RSA key: 2048 to 4096; by default 2048")
	f.StringVar(&o.file, "key", "", "take the private key in this `file` (PEM), or - for standard input, and make none")
	f.BoolVar(&o.Now, "now", false, "sign by it at once, without waiting for its record in DNS")
}

// ready fills in the order.
func (o *keyOrder) ready(in io.Reader, domain string) error {
	o.Domain = domain
	if o.Algorithm != "" && o.Algorithm != dkim.RSA && o.Algorithm != dkim.Ed25519 {
		return usageError{fmt.Errorf("--algorithm is %q; write rsa or ed25519", o.Algorithm)}
	}
	if o.file == "" {
		return nil
	}
	const most = 64 << 10
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	o.Key = string(text)
	return err
}

func (a *app) dkimAddCommand() *cobra.Command {
	var o keyOrder
	c := &cobra.Command{Use: "add DOMAIN", Short: "Make the first keys of a domain, and show the records to publish", Args: oneDomain,
		Long: `Make the first keys of a domain, one of RSA and one of Ed25519, and show the records to
publish in DNS. Mail is signed by them as soon as DNS has the records, which the server
looks for by itself; or at once, with --now.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.ready(cmd.InOrStdin(), args[0]); err != nil {
				return err
			}
			made, err := askKeys(cmd.Context(), a, func(c *admin.Client, ctx context.Context) ([]dkim.KeyInfo, error) { return c.AddKey(ctx, o.KeyOrder) })
			if err != nil {
				return err
			}
			return present(a, &made, a.showRecords)
		}}
	o.flags(c)
	return c
}

func (a *app) dkimRotateCommand() *cobra.Command {
	var o keyOrder
	c := &cobra.Command{Use: "rotate DOMAIN", Short: "Make the next keys of a domain, and show the records to publish", Args: oneDomain,
		Long: `Make the next keys of a domain, of the kinds that it has, and show the records to publish in
DNS. As soon as DNS has a record, its key becomes active and the one before retires: nothing is
signed by it any more, and after dkim.overlap it is removed. Its record must stay until then.

With --now the next keys become active at once, also those that wait for their records.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.ready(cmd.InOrStdin(), args[0]); err != nil {
				return err
			}
			next, err := askKeys(cmd.Context(), a, func(c *admin.Client, ctx context.Context) ([]dkim.KeyInfo, error) {
				return c.RotateKeys(ctx, o.KeyOrder)
			})
			if err != nil {
				return err
			}
			return present(a, &next, a.showRecords)
		}}
	o.flags(c)
	return c
}

func (a *app) dkimListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List all keys, with their states", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := askKeys(cmd.Context(), a, (*admin.Client).Keys)
			if err != nil {
				return err
			}
			return present(a, &list, a.showKeys)
		}}
}

func (a *app) showKeys(list *[]dkim.KeyInfo) {
	w := newTable(a.out)
	fmt.Fprintln(w, "DOMAIN\tSELECTOR\tKEY\tSTATE\tSINCE\tUNTIL")
	for i := range *list {
		k := &(*list)[i]
		until := "-"
		if !k.Until.IsZero() {
			until = moment(k.Until)
		}
		fmt.Fprintf(w, "%s\t%s\t%s %d\t%s\t%s\t%s\n", printable(k.Domain), printable(k.Selector), k.Algorithm, k.Bits, k.State, moment(k.Since), until)
	}
	_ = w.Flush() // a.out remembers a failure
	for i := range *list {
		if k := &(*list)[i]; k.Problem != "" {
			fmt.Fprintf(a.out, "%s: %s\n", printable(k.Name), printable(k.Problem))
		}
	}
}

func (a *app) dkimRemoveCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{Use: "remove DOMAIN SELECTOR", Short: "Remove a key",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{errors.New("name a domain and a selector; see 'postern dkim key list'")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := askKeys(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (struct{}, error) {
				return struct{}{}, c.RemoveKey(ctx, args[0], args[1], force)
			})
			if err != nil {
				return err
			}
			return a.say(dkim.KeyInfo{Domain: args[0], Selector: args[1]}, "key %s is removed; take its record out of DNS", dkim.RecordName(args[0], args[1]))
		}}
	c.Flags().BoolVar(&force, "force", false, "remove it although mail is signed by it, which leaves unsigned from then on")
	return c
}

func (a *app) dkimRecordCommand() *cobra.Command {
	return &cobra.Command{Use: "record DOMAIN", Short: "Show the records of a domain's keys, to publish in DNS", Args: oneDomain,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := askKeys(cmd.Context(), a, func(c *admin.Client, ctx context.Context) ([]dkim.KeyInfo, error) { return c.KeysOf(ctx, args[0]) })
			if err != nil {
				return err
			}
			return present(a, &list, a.showRecords)
		}}
}

// showRecords shows records in the two ways in which they are pasted.
func (a *app) showRecords(list *[]dkim.KeyInfo) {
	for i := range *list {
		k := &(*list)[i]
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "%s %d, %s: %s\n", k.Algorithm, k.Bits, k.State, whatNext[k.State])
		if k.Problem != "" {
			fmt.Fprintln(a.out, "  but", printable(k.Problem))
		}
		if k.Record != "" {
			fmt.Fprintf(a.out, "  in a zone file:\n%s\n  in a form on a web page: type TXT, name %s, value\n%s\n", printable(k.Zone), printable(k.Name), printable(k.Record))
		}
	}
}

// whatNext says what is to be done about a key in a state.
var whatNext = map[dkim.State]string{
	dkim.Waiting:  "publish this record, and mail is signed by it",
	dkim.Active:   "mail is signed by it, and its record must be in DNS",
	dkim.Retiring: "leave its record in DNS until it is removed",
}

func (a *app) dkimCheckCommand() *cobra.Command {
	return &cobra.Command{Use: "check DOMAIN", Short: "Compare DNS with the keys of a domain, and ask what SPF and DMARC say of its mail", Args: oneDomain,
		Long: `Compare DNS with the keys of a domain, ask whether its SPF record covers the addresses from
which mail leaves, and what its DMARC record asks for. Nothing is changed.

Ends with 1 if there is a problem: mail of the domain would be refused, or taken for forged.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := askKeys(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (alignment.Alignment, error) {
				return c.CheckDomain(ctx, args[0])
			})
			if err != nil {
				return err
			}
			if err := present(a, &r, a.showAlignment); err != nil {
				return err
			}
			if len(r.Findings) > 0 && r.Findings[0].Level == alignment.Problem {
				return fmt.Errorf("mail of %s is not as other servers want it", r.Domain)
			}
			return nil
		}}
}

func (a *app) showAlignment(r *alignment.Alignment) {
	signer := r.Signer
	if signer == "" {
		signer = "nobody"
	}
	fmt.Fprintf(a.out, "mail of %s is signed by %s\n", printable(r.Domain), printable(signer))
	for _, k := range r.Keys {
		state := "its record is as it should be"
		if !k.Good {
			state = "see below"
		}
		fmt.Fprintf(a.out, "  key %s, %s: %s\n", printable(k.Name), k.State, state)
	}
	if r.SPF.Record != "" {
		fmt.Fprintln(a.out, "SPF:", printable(r.SPF.Record))
	}
	for _, s := range r.SPF.Results {
		fmt.Fprintf(a.out, "  from %s: %s\n", s.Address, s.Result)
	}
	if d := r.DMARC; d != nil {
		fmt.Fprintf(a.out, "DMARC: p=%s, by the record of %s\n", d.Policy, printable(d.At))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(a.out, "%s: %s\n", f.Level, printable(f.Text))
		if f.Hint != "" {
			fmt.Fprintf(a.out, "  (%s)\n", printable(f.Hint))
		}
	}
}

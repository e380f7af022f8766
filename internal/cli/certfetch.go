package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/mail"
	"postern/internal/peercerts"
)

// certFetch is one run of "cert fetch".
type certFetch struct {
	*app
	starttls string
	name     string
	out      string
	yes      bool
}

// fetched is what "cert fetch" prints for programs.
type fetched struct {
	*peercerts.Chain
	Trust   peercerts.Trust `json:"trust"`
	Written string          `json:"written,omitempty"`
}

const longFetch = `Show the certificates that a server shows, as "openssl s_client -showcerts" does, whether
this machine trusts them, and for which name. With --out a trust list is made of them, which a
transport can name (tls_ca_file): the authority of the chain; or the server's own certificate where
no authority is known, which is good until the server has another.

Whoever is between here and the server can show what they like. So compare the fingerprint with what
whoever runs the server tells you by another way, before you trust it.

Without a port it is 25, where TLS begins by STARTTLS; at port 465 it begins with the connection. Nothing
is sent but EHLO, STARTTLS and QUIT. Names are looked up as this machine does, not by dns.servers of the
configuration: where that differs, give the address, and the name with --name.`

func (a *app) certFetchCommand() *cobra.Command {
	f := certFetch{app: a}
	c := &cobra.Command{Use: "fetch HOST[:PORT]", Short: "Show the certificates of another server, and make a trust list of them", Long: longFetch,
		Args: oneServer, RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), bufio.NewReader(cmd.InOrStdin()), args[0])
		}}
	flags := c.Flags()
	flags.StringVar(&f.starttls, "starttls", "", "how TLS begins: `smtp` (by STARTTLS), or none (with the connection)")
	flags.StringVar(&f.name, "name", "", "the `name` to ask the server for; default: HOST")
	flags.StringVar(&f.out, "out", "", "the `file` to write a trust list to")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask; a file that exists is not replaced")
	return c
}

func oneServer(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes one server, as mail.example.com:25; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

// server is whom the command line names.
func (f *certFetch) server(arg string) (peercerts.Server, error) {
	address, err := mail.ParseHostPort(arg, 25)
	if err != nil {
		return peercerts.Server{}, usageError{fmt.Errorf("%q: %w", arg, err)}
	}
	how := cmp.Or(f.starttls, map[bool]string{true: "none", false: "smtp"}[address.Port == 465])
	if how != "smtp" && how != "none" {
		return peercerts.Server{}, usageError{fmt.Errorf("--starttls %q: it is smtp or none", f.starttls)}
	}
	hello, err := os.Hostname()
	if err != nil || mail.CheckDomain(hello) != nil {
		hello = "localhost"
	}
	return peercerts.Server{Address: address, Name: f.name, Implicit: how == "none", Hello: hello}, nil
}

func (f *certFetch) run(ctx context.Context, in *bufio.Reader, arg string) error {
	server, err := f.server(arg)
	if err != nil {
		return err
	}
	if f.json && f.out != "" && !f.yes {
		return usageError{errors.New("--json asks no questions: add --yes")}
	}
	chain, err := peercerts.Fetch(ctx, server)
	if err != nil {
		return err
	}
	said := fetched{Chain: chain, Trust: chain.Trust()}
	if !f.json {
		f.show(&said)
	}
	if f.out != "" {
		if err := f.save(in, &said); err != nil {
			return err
		}
		said.Written = f.out
	}
	if f.json {
		return f.printJSON(&said)
	}
	return nil
}

// save writes the trust list, if that is wanted.
func (f *certFetch) save(in *bufio.Reader, said *fetched) error {
	_, err := os.Lstat(f.out)
	exists := err == nil
	if !f.yes {
		question := fmt.Sprintf("Trust %s, and write that to %s? [y/N] ", printable(said.Trust.Subject), printable(f.out))
		if exists {
			question = fmt.Sprintf("Trust %s, and put that in the place of what %s has now? [y/N] ", printable(said.Trust.Subject), printable(f.out))
		}
		fmt.Fprint(f.err, question)
		answer, err := in.ReadString('\n')
		if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
			if err != nil {
				return errors.New("nothing was written: there was no answer; --yes writes without a question")
			}
			return errors.New("nothing was written")
		}
	}
	if err := said.Trust.Write(f.out, exists && !f.yes); err != nil {
		return err
	}
	if !f.json {
		fmt.Fprintf(f.app.out, "written to %s: name it as tls_ca_file, beside tls = \"verify\"\n", printable(f.out))
	}
	return nil
}

// show prints a chain for people.
func (f *certFetch) show(said *fetched) {
	c, out := said.Chain, f.app.out
	fmt.Fprintf(out, "server    %s (%s)\n", printable(c.Server), c.Address)
	fmt.Fprintf(out, "TLS       %s, %s\n", c.Version, c.Cipher)
	if c.Trusted {
		fmt.Fprintf(out, "trusted   yes, for %s: this machine trusts %s\n", printable(c.Name), printable(c.Root))
	} else {
		fmt.Fprintf(out, "trusted   NO, for %s: %s\n", printable(c.Name), printable(c.Problem))
	}
	for i := range c.Certificates {
		f.showOne(i, &c.Certificates[i])
	}
	if said.Trust.Authority {
		fmt.Fprintf(out, "\na trust list has the authority %s\n", printable(said.Trust.Subject))
		return
	}
	fmt.Fprintf(out, "\nWARNING: no authority vouches for this certificate. A trust list that has it is good until the server has\n"+
		"another one. A pin is good as long as the server keeps its key:\n  tls = \"pin\"\n  tls_pins = [%q]\n", c.Certificates[0].KeyPin)
}

func (f *certFetch) showOne(i int, c *peercerts.Certificate) {
	out := f.app.out
	fmt.Fprintf(out, "\n%d subject     %s\n", i, printable(cmp.Or(c.Subject, "-")))
	fmt.Fprintf(out, "  issuer      %s\n", printable(cmp.Or(c.Issuer, "-")))
	if names := purposes(&c.Info); len(names) > 0 {
		fmt.Fprintf(out, "  for         %s\n", printable(strings.Join(names, ", ")))
	}
	fmt.Fprintf(out, "  valid       %s to %s%s\n", c.NotBefore.UTC().Format(time.DateTime), c.NotAfter.UTC().Format(time.DateTime), outside(c))
	fmt.Fprintf(out, "  key         %s\n", c.Key)
	fmt.Fprintf(out, "  SHA-256     %s\n", c.Fingerprint)
	fmt.Fprintf(out, "  key SHA-256 %s\n%s", c.KeyPin, c.PEM)
}

// outside says that a certificate is not valid now.
func outside(c *peercerts.Certificate) string {
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		return " UTC: IT HAS ENDED"
	case now.Before(c.NotBefore):
		return " UTC: NOT YET"
	}
	return " UTC"
}

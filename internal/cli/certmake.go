package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/filter"
)

// making are the flags of commands that make certificates.
type making struct {
	order    certs.Order
	lifetime string
	to       string // a file
	request  string // a file
}

// flags adds those that say what a certificate is for.
func (m *making) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&m.order.Names, "name", nil, "a host `name` for which it is valid; may be given several times")
	f.StringSliceVar(&m.order.Addresses, "ip", nil, "an IP `address` for which it is valid")
	f.StringSliceVar(&m.order.Emails, "email", nil, "a mail `address` for which it is valid, for clients")
}

func (m *making) keyFlag(c *cobra.Command) {
	c.Flags().StringVar((*string)(&m.order.Key), "key-type", "ecdsa", "the `kind` of its key: ecdsa, rsa or ed25519")
	c.Flags().BoolVar(&m.order.Replace, "replace", false, "replace the certificate of that name, if there is one")
}

func (m *making) lifetimeFlag(c *cobra.Command, usual string) {
	c.Flags().StringVar(&m.lifetime, "lifetime", usual, "for how `long` it is valid, in days: 365d")
}

// ready fills in the order. What is wrong is a mistake in the command line.
func (m *making) ready() error {
	if m.lifetime == "" {
		return nil
	}
	d, err := filter.ParseAge(m.lifetime)
	if err != nil {
		return usageError{fmt.Errorf("--lifetime: %w", err)}
	}
	m.order.Days = int(d / (24 * time.Hour))
	if m.order.Days < 1 {
		return usageError{fmt.Errorf("--lifetime %s is less than a day", m.lifetime)}
	}
	return nil
}

// run has it made, and shows it.
func (m *making) run(ctx context.Context, a *app) error {
	if err := m.ready(); err != nil {
		return err
	}
	made, err := askKeeper(ctx, a, func(c *admin.Client, ctx context.Context) (certs.Made, error) { return c.MakeCertificate(ctx, m.order) })
	if err != nil {
		return err
	}
	return a.hand(&made, m.to)
}

// hand shows what was made: what goes to somebody else as it is, on standard output or in a
// file.
func (a *app) hand(m *certs.Made, to string) error {
	if to == "" {
		return present(a, m, func(m *certs.Made) {
			if m.Pending || m.Name == "" {
				fmt.Fprint(a.out, m.PEM)
				return
			}
			a.showCertificate(&m.Info)
		})
	}
	if err := os.WriteFile(to, []byte(m.PEM), 0o644); err != nil {
		return err
	}
	return a.say(m, "written to %s", to)
}

func (a *app) certCreateCommand() *cobra.Command {
	m := making{order: certs.Order{Making: certs.MakeSelfSigned}}
	c := &cobra.Command{Use: "create NAME", Short: "Make a certificate that nobody vouches for (self-signed)", Args: oneCertificate,
		Long: `Make a certificate that nobody vouches for. It is good for TLS with clients that do
not verify, which most mail servers are, and with those that are given it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m.order.Name = args[0]
			return m.run(cmd.Context(), a)
		}}
	m.flags(c)
	m.keyFlag(c)
	m.lifetimeFlag(c, "365d")
	return c
}

func (a *app) certRequestCommand() *cobra.Command {
	m := making{order: certs.Order{Making: certs.MakeRequest}}
	c := &cobra.Command{Use: "request NAME", Short: "Make a key, and a request for its certificate (PKCS #10) for an authority", Args: oneCertificate,
		Long: `Make a key, and a request for its certificate (PKCS #10, RFC 2986), which goes to an
authority. The key stays here. "postern cert import NAME" takes the certificate that
the authority has made. A certificate that is in use by that name stays in use until
then.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m.order.Name = args[0]
			return m.run(cmd.Context(), a)
		}}
	m.flags(c)
	c.Flags().StringVar((*string)(&m.order.Key), "key-type", "ecdsa", "the `kind` of its key: ecdsa, rsa or ed25519")
	c.Flags().StringVar(&m.to, "to", "", "the `file` to write the request to, instead of standard output")
	return c
}

func (a *app) certAuthorityCommand() *cobra.Command {
	return group("ca", "Be an authority for a small site, or for tests", a.certAuthorityInitCommand(), a.certAuthorityIssueCommand())
}

func atMostOneName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%s takes one name at most; see '%[1]s --help'", cmd.CommandPath())}
	}
	return nil
}

// usualAuthority is the name of an authority when nobody says another.
const usualAuthority = "ca"

func (a *app) certAuthorityInitCommand() *cobra.Command {
	m := making{order: certs.Order{Making: certs.MakeAuthority}}
	c := &cobra.Command{Use: "init [NAME]", Short: "Make an authority, which signs certificates of servers and clients", Args: atMostOneName,
		Long: `Make an authority, which signs certificates of servers and clients, by the name "ca"
unless another is given. Who is to trust these needs its certificate: "postern cert
export ca". Its key stays in the store of this server.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m.order.Name = cmp.Or(strings.Join(args, ""), usualAuthority)
			return m.run(cmd.Context(), a)
		}}
	c.Flags().StringVar(&m.order.Title, "title", "Postern CA", "what others `call` it")
	m.keyFlag(c)
	m.lifetimeFlag(c, "3650d")
	return c
}

func (a *app) certAuthorityIssueCommand() *cobra.Command {
	m := making{order: certs.Order{Making: certs.MakeIssued}}
	c := &cobra.Command{Use: "issue [NAME]", Short: "Make a certificate that an authority of here signs, for a server or a client", Args: atMostOneName,
		Long: `Make a certificate with its key that an authority of here signs, and keep it in the
store by a name. It is for a server, or with --client for a client.

With --request the key is somebody else's: their request (PKCS #10) is answered, the
certificate is written and not kept, and there is no name.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (m.request == "") == (len(args) == 0) {
				return usageError{errors.New("name the certificate, or answer a --request")}
			}
			m.order.Name = strings.Join(args, "")
			if m.request != "" {
				text, err := readLimited(m.request)
				if err != nil {
					return err
				}
				m.order.Request = string(text)
			}
			return m.run(cmd.Context(), a)
		}}
	m.flags(c)
	m.keyFlag(c)
	m.lifetimeFlag(c, "365d")
	c.Flags().StringVar(&m.order.Authority, "ca", usualAuthority, "the `authority` that signs")
	c.Flags().BoolVar(&m.order.Client, "client", false, "it is for a client, not for a server")
	c.Flags().StringVar(&m.request, "request", "", "the `file` with the request to be answered; - is standard input")
	c.Flags().StringVar(&m.to, "to", "", "the `file` to write the certificate to, instead of standard output")
	return c
}

// bringing are the flags of import.
type bringing struct {
	certificate, key, passphrase string // files
	replace                      bool
}

func (a *app) certImportCommand() *cobra.Command {
	var b bringing
	c := &cobra.Command{Use: "import NAME", Short: "Store a certificate with its key, or the answer to a request", Args: oneCertificate,
		Long: `Store a certificate, followed by those of its issuers, with its key: from PEM files, or
from one of PKCS #12 (.p12, .pfx). Without a key it is what an authority has made of
the request of that name, or has renewed for the key that is in use.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			bundle, err := b.read()
			if err != nil {
				return err
			}
			info, err := askKeeper(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (certs.Info, error) {
				return c.ImportCertificate(ctx, args[0], bundle)
			})
			if err != nil {
				return err
			}
			return present(a, &info, a.showCertificate)
		}}
	c.Flags().StringVar(&b.certificate, "file", "-", "the `file` with the certificate; - is standard input")
	c.Flags().StringVar(&b.key, "key", "", "the `file` with the key, if that is another")
	c.Flags().StringVar(&b.passphrase, "passphrase-file", "", "the `file` with the passphrase of a PKCS #12 file")
	c.Flags().BoolVar(&b.replace, "replace", false, "replace the certificate of that name, if there is one")
	return c
}

// read reads the files, and makes PEM of them.
func (b *bringing) read() (certs.Bundle, error) {
	var passphrase []byte
	text, err := readLimited(b.certificate)
	if err == nil && b.passphrase != "" {
		passphrase, err = readLimited(b.passphrase)
	}
	if err != nil {
		return certs.Bundle{}, err
	}
	p, err := certs.Parse(b.certificate, text, string(bytes.TrimRight(passphrase, "\r\n")))
	if err == nil && b.key != "" {
		p, err = b.withKey(p)
	}
	if err != nil {
		return certs.Bundle{}, err
	}
	bundle := certs.Bundle{Certificate: string(certs.EncodeChain(&tls.Certificate{Certificate: p.Chain})), Replace: b.replace}
	if p.Key != nil {
		key, err := certs.EncodeKey(p.Key)
		if err != nil {
			return certs.Bundle{}, err
		}
		bundle.Key = string(key)
	}
	return bundle, nil
}

// withKey adds the key that is in a file of its own.
func (b *bringing) withKey(p certs.Parsed) (certs.Parsed, error) {
	text, err := readLimited(b.key)
	if err != nil {
		return p, err
	}
	key, err := certs.Parse(b.key, text, "")
	if err != nil {
		return p, err
	}
	key.Leaf, key.Chain = nil, nil // the other file has them
	return p.Join(key)
}

// exported is what is said of a certificate that was written.
type exported struct {
	Name string `json:"name"`
	File string `json:"file"`
	Key  bool   `json:"key"`
}

func (a *app) certExportCommand() *cobra.Command {
	var to string
	var key bool
	c := &cobra.Command{Use: "export NAME", Short: "Write a certificate of the store, with those of its issuers, and with --key its private key", Args: oneCertificate,
		Long: `Write a certificate of the store, with those of its issuers, in PEM: to standard output,
or to a file. With --key its private key comes first, in a file that does not exist yet
and that its owner alone can read. The key is read from data_dir, by who may read that;
that it was taken out is in the journal if the server runs.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key {
				return a.exportKey(cmd.Context(), args[0], to)
			}
			m, err := askKeeper(cmd.Context(), a, func(c *admin.Client, ctx context.Context) (certs.Made, error) { return c.Certificate(ctx, args[0]) })
			if err == nil && m.PEM == "" {
				err = fmt.Errorf("%s is not in the store; its file is %s", args[0], cmp.Or(m.File, "kept by ACME"))
			}
			if err != nil {
				return err
			}
			if to == "" && !a.json {
				fmt.Fprint(a.out, m.PEM)
				return nil
			}
			return a.hand(&m, to)
		}}
	c.Flags().StringVar(&to, "to", "", "the `file` to write to, instead of standard output")
	c.Flags().BoolVar(&key, "key", false, "write the private key, too")
	return c
}

// exportKey writes a certificate with its key to a new file.
func (a *app) exportKey(ctx context.Context, name, to string) error {
	if to == "" {
		return usageError{errors.New("--key needs --to: a private key is written to a file that does not exist yet")}
	}
	keeper, err := a.certFiles()
	if err != nil {
		return err
	}
	text, err := keeper.Store.Key(name)
	if err != nil {
		return err
	}
	if err := a.keeperDoes(ctx, func(c *admin.Client, ctx context.Context) error { return c.NoteKeyExport(ctx, name) }); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already; name a file that does not", filepath.Clean(to))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return a.say(exported{name, to, true}, "%s is written to %s, with its private key: let nobody else have it", name, to)
}

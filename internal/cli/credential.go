package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/admin"
	"postern/internal/mail"
)

func (a *app) credentialCommand() *cobra.Command {
	n := &recordNoun[admin.Credential]{
		app: a, one: "credential", many: "credentials", arg: "NAME", of: (*admin.Client).Credentials,
		head: "NAME\tKIND\tUSER\tHOSTS\tMECHANISMS\tTROUBLE", columns: "name", row: credentialRow, show: a.showCredential, settings: a.credentialSettings,
	}
	remove := n.deleteCommand()
	remove.Use, remove.Aliases, remove.Short = "remove NAME...", []string{"delete"}, "Remove credentials"
	return group("credential", "What this server proves to others who it is with: passwords and tokens",
		n.listCommand(), n.showCommand(), n.addCommand(), n.setCommand(), remove, a.credentialTestCommand(), a.rekeyCommand())
}

// credentialSettings are what can be said of a credential.
func (a *app) credentialSettings(f *recordFlags) {
	f.text("user", "user", "the `name` that is said: that of the account, or with tokens the address of the mailbox")
	f.texts("host", "hosts", "is for these `servers`, separated by commas: names, addresses, or *.example.com", asTexts)
	f.texts("mechanism", "mechanisms", "may be used by these `mechanisms`, in this order; empty: by all, the strongest first: "+strings.Join(append(mail.PasswordMechanisms, mail.TokenMechanisms...), ", "), asTexts)
	f.value("without-verification", "without_verification", "`true`: may be shown to a server that has not proved to be the right one, and in clear to this machine", flag)
	f.text("preset", "preset", "has tokens of a `service` that is known: microsoft365 or google; with it the kind is oauth")
	f.text("tenant", "tenant", "the `tenant` of Microsoft 365, such as example.onmicrosoft.com")
	f.text("token-url", "token_url", "the `URL` at which tokens are issued; with it the kind is oauth")
	f.text("client-id", "client_id", "the `identifier` of this server at the issuer of tokens")
	f.texts("scope", "scopes", "asks for these `scopes`, separated by commas", asTexts)
	f.text("key-id", "key_id", "the `name` that the issuer has for the client key")
	f.file("certificate", "certificate", "the certificate of the client key: a `file` in PEM")
	f.text("note", "note", "a `text` for whoever finds it")
	f.file("password-file", "password", "the password: a `file` with it in a line, - for standard input")
	f.file("client-key", "client_key", "the private key that proves this server to the issuer: a `file` in PEM, or that of a service account of Google")
	f.file("client-secret", "client_secret", "the secret that proves this server to the issuer: a `file` with it in a line, - for standard input")
	f.file("refresh-token", "refresh_token", "the refresh token that a user has given: a `file` with it in a line, - for standard input")
	f.password(a)
	f.reads = append(f.reads, kindOf)
}

// kindOf says what kind a credential is, where that follows from the flags.
func kindOf(fields map[string]any) error {
	for _, field := range []string{"preset", "token_url", "tenant", "client_key", "client_secret", "refresh_token"} {
		if text, _ := fields[field].(string); text != "" {
			fields["kind"] = "oauth"
		}
	}
	return nil
}

// flag reads true or false.
func flag(text string) (any, error) {
	is, err := strconv.ParseBool(text)
	if err != nil {
		return nil, errors.New("it is neither true nor false")
	}
	return is, nil
}

// maxSecretFile bounds a file with a secret, in octets.
const maxSecretFile = 32 << 10

// file adds a flag of which the value is in a file, and so in no command line.
func (f *recordFlags) file(name, field, usage string) {
	f.value(name, field, usage, func(file string) (any, error) {
		if file == "" {
			return "", nil
		}
		in := f.cmd.InOrStdin()
		if file != "-" {
			opened, err := os.Open(file)
			if err != nil {
				return nil, err
			}
			defer opened.Close()
			in = opened
		}
		text, err := io.ReadAll(io.LimitReader(in, maxSecretFile+1))
		switch {
		case err != nil:
			return nil, err
		case len(text) > maxSecretFile:
			return nil, fmt.Errorf("it has more than %d octets", maxSecretFile)
		case strings.TrimSpace(string(text)) == "":
			return nil, errors.New("it is empty")
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	})
}

func credentialRow(c *admin.Credential) string {
	return strings.Join([]string{column(c.Name), string(c.Kind), orDash(c.User), orDash(strings.Join(c.Hosts, ", ")), orDash(strings.Join(c.Mechanisms, ", ")), orDash(troubleOf(c))}, "\t")
}

// troubleOf is what a listing says of troubles.
func troubleOf(c *admin.Credential) string {
	var hosts []string
	for _, t := range c.Troubles {
		if t.Host == "" {
			return "fails since " + timeOrNone(t.Since)
		}
		hosts = append(hosts, t.Host)
	}
	if len(hosts) == 0 {
		return ""
	}
	return "refused by " + strings.Join(hosts, ", ")
}

// shownTroubles are the lines that tell of troubles.
func shownTroubles(c *admin.Credential) []shownField {
	var fields []shownField
	for _, t := range c.Troubles {
		f := shownField{"FAILS", sinceWhen(t.Since, t.Why, t.Next)}
		if t.Host != "" {
			f = shownField{"REFUSED", "by " + t.Host + " " + f.value}
		}
		fields = append(fields, f)
	}
	return fields
}

func (a *app) showCredential(c *admin.Credential) {
	without := ""
	if c.WithoutVerification {
		without = "YES: to a server that has not proved to be the right one"
	}
	a.showFields(append([]shownField{
		{"credential", c.Name + ", " + string(c.Kind)}, {"user", c.User}, {"hosts", strings.Join(c.Hosts, ", ")},
		{"mechanisms", strings.Join(c.Mechanisms, ", ")}, {"WITHOUT TLS", without}, {"preset", string(c.Preset)},
		{"tokens from", c.TokenURL}, {"client", c.ClientID}, {"scopes", strings.Join(c.Scopes, " ")}, {"key", c.KeyID},
		{"has", strings.Join(c.Secrets, ", ")}, {"note", c.Note}, {"created", timeOrNone(c.Created)}, {"changed", timeOrNone(c.Changed)},
	}, shownTroubles(c)...))
}

func (a *app) rekeyCommand() *cobra.Command {
	return &cobra.Command{Use: "rekey", Short: "Seal the secrets of all credentials under a new key", Args: noArguments,
		Long: `Seal the secrets of all credentials under a new key. The key of before stays in the key
file until all is on stable storage, so that this can be broken off at any moment, and run
again. Then it is gone: a backup of before needs a copy of the key file of before.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error {
				done, err := client.RekeyCredentials(cmd.Context())
				if err != nil {
					return err
				}
				return a.say(done, "%s under a new key: keep a copy of the key file", several(done.Credentials, "credential is", "credentials are"))
			})
		}}
}

// errNoLogin says that a test has failed, of which all was said.
var errNoLogin = errors.New("this server could not log in there")

func (a *app) credentialTestCommand() *cobra.Command {
	var t admin.CredentialTest
	c := &cobra.Command{Use: "test HOST[:PORT]", Short: "Log in at a server as deliveries do, and send nothing",
		Long: `Log in at a server as deliveries do, and send nothing: which credential is found for it, how
TLS was, and by which mechanism. Without a port it is that which the transport has for the
server (or delivery.smarthosts, where none is named), else 587.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usageError{fmt.Errorf("%s takes one server; see '%[1]s --help'", cmd.CommandPath())}
			}
			at, err := mail.ParseHostPort(args[0], 0)
			if err != nil {
				return usageError{err}
			}
			t.Host, t.Port = at.Host, int(at.Port)
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDirectory(cmd.Context(), func(client *admin.Client) error { return a.testCredential(cmd.Context(), client, t) })
		}}
	c.Flags().StringVar(&t.Transport, "transport", "", "as mail goes there by this `transport`")
	return c
}

func (a *app) testCredential(ctx context.Context, client *admin.Client, t admin.CredentialTest) error {
	done, err := client.TestCredential(ctx, t)
	if err != nil {
		return err
	}
	err = present(a, &done, func(d *admin.CredentialTested) {
		secured := ""
		if d.TLS != nil {
			secured = d.TLS.Version + ", " + d.TLS.Cipher
		}
		a.showFields([]shownField{{"credential", d.Credential}, {"user", d.User}, {"server", d.Address}, {"TLS", secured}, {"mechanism", d.Mechanism}, {"FAILED", d.Error}})
	})
	if err == nil && done.Error != "" {
		err = errNoLogin
	}
	return err
}

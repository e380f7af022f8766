package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/internal/admin"
	"postern/internal/config"
)

func (a *app) userCommand() *cobra.Command {
	n := &recordNoun[admin.User]{
		app: a, one: "user", many: "users", arg: "LOGIN", of: (*admin.Client).Users,
		head: "LOGIN\tSTATE\tMAY\tKNOWN BY\tLAST USED\tADDRESSES", row: userRow, show: a.showUser, settings: a.userSettings,
		columns: "login, enabled, expires, submit, relay, pop, addresses, delegates, messages_per_hour,\n  recipients_per_day, max_size, language, groups, networks, certificates, route, class, note",
	}
	verbs := append(n.verbs(), a.passwordCommand(n), a.switchCommand(n, "enable", true), a.switchCommand(n, "disable", false))
	return group("user", "Who may use the server: people and applications", verbs...)
}

// userSettings are what can be said of a user.
func (a *app) userSettings(f *recordFlags) {
	f.texts("address", "addresses", "may send as these `addresses`, separated by commas: an address, or *@domain; the first is its own", asTexts)
	f.texts("service", "services", "may do this: `services` of submit, relay and pop, separated by commas", services)
	f.texts("delegate", "delegates", "may use the addresses of these `logins`, too", asTexts)
	f.texts("group", "groups", "is in these `groups`", asTexts)
	f.texts("network", "networks", "is who comes from these `networks` without a password", networks)
	f.texts("certificate", "certificates", "is who shows one of these `certificates`: sha256:FINGERPRINT, dns:NAME or email:ADDRESS", asTexts)
	f.value("expires", "expires", "when the account ends: a `time`, a date, or never", func(text string) (any, error) { return expiry(text, time.Now()) })
	f.value("messages-per-hour", "limits.messages_per_hour", "at most so many messages in an hour: a `number`; 0 for no limit", wholeNumber)
	f.value("recipients-per-day", "limits.recipients_per_day", "at most so many recipients in a day: a `number`; 0 for no limit", wholeNumber)
	f.value("max-size", "limits.max_size", "of a message: a `size` such as 10MiB; 0 for no limit of its own", func(text string) (any, error) { return config.ParseSize(text) })
	f.text("language", "language", "a language `tag`, such as de")
	f.text("route", "route", "what it sends leaves by this `transport`; empty: by the one that the routes choose")
	f.text("class", "class", "what it sends is of this priority `class`")
	f.text("note", "note", "a `text` for whoever finds it")
	if f.cmd.Name() == "add" {
		f.password(a)
	}
}

// password adds a flag that reads a password, which stands in no command line.
func (f *recordFlags) password(a *app) {
	f.Bool("password", false, "ask for a password on the terminal, or read it from standard input")
	f.reads = append(f.reads, func(fields map[string]any) error {
		if ask, _ := f.GetBool("password"); !ask {
			return nil
		}
		password, err := readPassword(f.cmd.InOrStdin(), a.err)
		fields["password"] = password
		return err
	})
}

// services are what a user may do, and what not.
func services(list []string) (any, error) {
	may := map[string]bool{"submit": false, "relay": false, "pop": false}
	for _, name := range list {
		if _, is := may[name]; !is {
			return nil, fmt.Errorf("%q is no service: they are submit, relay and pop", name)
		}
		may[name] = true
	}
	return may, nil
}

// networks are networks, of which some may be single addresses.
func networks(list []string) (any, error) {
	found := make([]netip.Prefix, len(list))
	for i, text := range list {
		ip, err := netip.ParseAddr(text)
		if found[i] = netip.PrefixFrom(ip, ip.BitLen()); err == nil {
			continue
		}
		if found[i], err = netip.ParsePrefix(text); err != nil {
			return nil, fmt.Errorf("%q is neither an IP address nor a network such as 192.0.2.0/24", text)
		}
	}
	return found, nil
}

func servicesOf(u *admin.User) string {
	var names []string
	for _, one := range []struct {
		may  bool
		name string
	}{{u.Services.Submit, "submit"}, {u.Services.Relay, "relay"}, {u.Services.POP, "pop"}} {
		if one.may {
			names = append(names, one.name)
		}
	}
	return strings.Join(names, " ")
}

func networksOf(u *admin.User) string {
	texts := make([]string, len(u.Networks))
	for i, p := range u.Networks {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

func wholeNumber(text string) (any, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return nil, errors.New("it is not a whole number")
	}
	return n, nil
}

// expiry reads when an account ends; the zero time is never.
func expiry(text string, now time.Time) (any, error) {
	if text == "never" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t.UTC(), nil
		}
	}
	return nil, errors.New(`it is not a time: write 2026-01-31, "2026-01-31 15:04", or never`)
}

// maxPassword bounds what is read for a password, in octets.
const maxPassword = 4096

// readPassword reads a password: from a terminal without showing it, and twice; else the
// first line.
func readPassword(in io.Reader, prompt io.Writer) (string, error) {
	file, is := in.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, maxPassword)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("standard input has no password in its first line")
		}
		return line, nil
	}
	var said [2]string
	for i, text := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(prompt, text)
		typed, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(prompt)
		if err != nil {
			return "", err
		}
		said[i] = string(typed)
	}
	switch {
	case said[0] == "":
		return "", errors.New("nothing was done: there was no password")
	case said[0] != said[1]:
		return "", errors.New("nothing was done: the two are not the same")
	}
	return said[0], nil
}

func (a *app) passwordCommand(n *recordNoun[admin.User]) *cobra.Command {
	var remove bool
	c := &cobra.Command{Use: "password LOGIN", Short: "Set the password of a user", Args: n.oneName,
		Long: `Set the password of a user. It is asked for on the terminal, and not shown; when
standard input is no terminal, it is the first line of that. It never stands in a
command line, where others could see it. The server keeps only what is needed to
verify it.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			password, done := "", "has no password any more"
			if !remove {
				done = "has a new password"
				if password, err = readPassword(cmd.InOrStdin(), a.err); err != nil {
					return err
				}
			}
			return a.changeUser(cmd.Context(), n, args[0], map[string]any{"password": password}, done)
		}}
	c.Flags().BoolVar(&remove, "remove", false, "take the password away: the user is known by network or certificate only")
	return c
}

func (a *app) switchCommand(n *recordNoun[admin.User], verb string, enabled bool) *cobra.Command {
	short := "Let a user in again"
	if !enabled {
		short = "Keep a user out; the record stays"
	}
	return &cobra.Command{Use: verb + " LOGIN", Short: short, Args: n.oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(cmd.Context(), n, args[0], map[string]any{"enabled": enabled}, "is "+verb+"d")
		}}
}

// changeUser changes some fields of a user.
func (a *app) changeUser(ctx context.Context, n *recordNoun[admin.User], login string, fields map[string]any, done string) error {
	return a.withDirectory(ctx, func(client *admin.Client) error {
		stored, err := client.Users().Change(ctx, admin.RecordName{Name: login}, fields)
		if err != nil {
			return err
		}
		return n.saidStored(&stored, login, done)
	})
}

func userRow(u *admin.User) string {
	used := "never"
	if !u.LastUsed.IsZero() {
		used = age(u.LastUsed) + " ago"
	}
	return strings.Join([]string{column(u.Login), userState(u), orDash(servicesOf(u)), orDash(knownBy(u)), used, firstOf(u.Addresses)}, "\t")
}

// userState is whether a user is let in, in a word.
func userState(u *admin.User) string {
	switch {
	case !u.Enabled:
		return "disabled"
	case !u.Expires.IsZero() && !time.Now().Before(u.Expires):
		return "expired"
	}
	return "enabled"
}

// knownBy is what proves who a client is.
func knownBy(u *admin.User) string {
	var by []string
	if u.HasPassword {
		by = append(by, "password")
	}
	if len(u.Certificates) > 0 {
		by = append(by, "certificate")
	}
	if len(u.Networks) > 0 {
		by = append(by, "network")
	}
	return strings.Join(by, " ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

func (a *app) showUser(u *admin.User) {
	fmt.Fprintf(a.out, "user          %s, %s\n", printable(u.Login), userState(u))
	a.showFields([]shownField{
		{"expires", timeOrNone(u.Expires)}, {"may", orNothing(servicesOf(u))}, {"known by", orNothing(knownBy(u))},
		{"addresses", strings.Join(u.Addresses, ", ")}, {"delegates", strings.Join(u.Delegates, ", ")},
		{"groups", strings.Join(u.Groups, ", ")}, {"networks", networksOf(u)},
		{"certificates", strings.Join(u.Certificates, ", ")}, {"limits", userLimits(u)}, {"language", u.Language}, {"route", u.Route}, {"class", u.Class}, {"note", u.Note},
		{"created", timeOrNone(u.Created)}, {"changed", timeOrNone(u.Changed)}, {"last used", timeOrNone(u.LastUsed)},
	})
	if u.FailedLogins > 0 {
		fmt.Fprintf(a.out, "FAILED        %s since\n", several(u.FailedLogins, "login", "logins"))
	}
}

// orNothing says that there is nothing, where that keeps a user from sending.
func orNothing(s string) string {
	if s == "" {
		return "NOTHING"
	}
	return s
}

func userLimits(u *admin.User) string {
	var limits []string
	if u.Limits.MessagesPerHour > 0 {
		limits = append(limits, fmt.Sprintf("%d messages an hour", u.Limits.MessagesPerHour))
	}
	if u.Limits.RecipientsPerDay > 0 {
		limits = append(limits, fmt.Sprintf("%d recipients a day", u.Limits.RecipientsPerDay))
	}
	if u.Limits.MaxSize > 0 {
		limits = append(limits, size(u.Limits.MaxSize)+" a message")
	}
	return strings.Join(limits, ", ")
}

func timeOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(dateTime)
}

// shownField is a line about a record.
type shownField struct{ name, value string }

// showFields prints those that have a value.
func (a *app) showFields(fields []shownField) {
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(a.out, "%-13s %s\n", f.name, printable(f.value))
		}
	}
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"postern/internal/admin"
	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/dns"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/senders"
)

// directoryName is the part of a data directory that has the records.
const directoryName = "directory"

func directoryDir(c *config.Config) string { return filepath.Join(c.DataDir, directoryName) }

// openDirectory opens the directory, and puts its lists in force.
func (d *Daemon) openDirectory(g *graph) (err error) {
	// A backup that was killed has left its copies behind.
	if err := os.RemoveAll(copiesDir(g.config)); err != nil {
		return fmt.Errorf("cannot remove what a backup has left: %w", err)
	}
	d.directory, err = directory.Open(context.Background(), directory.Options{
		Dir: directoryDir(g.config), Clock: d.clock, Logger: d.Logger, Metrics: d.counts.directory, Credentials: checkCredentials,
	})
	if err != nil {
		return fmt.Errorf("cannot open the directory: %w", err)
	}
	if err := d.journal.Trim(context.Background(), directory.Source, d.directory); err != nil {
		return fmt.Errorf("cannot match the directory with the journal: %w", err)
	}
	g.lists.Look()
	d.directory.Watch(d.directoryChanged)
	d.senders, err = senders.Open(context.Background(), senders.Options{
		Directory: d.directory, Clock: d.clock, Logger: d.Logger, Metrics: d.counts.senders,
	})
	if err != nil {
		return fmt.Errorf("cannot read who sends: %w", err)
	}
	return nil
}

// checkCredentials says what is wrong with credentials that are to be recorded.
func checkCredentials(password, scram string) error {
	return auth.Credentials{Password: password, SCRAM: scram}.Check()
}

// directoryChanged puts lists in force that have changed.
func (d *Daemon) directoryChanged(changed []directory.Key) {
	for _, k := range changed {
		if k.Kind == directory.KindList {
			d.inForce().lists.LookInDirectory()
			return
		}
	}
}

// records returns the directory, nil while there is none: before the server is open, and
// in a graph that nobody serves.
func (g *graph) records() *directory.Directory {
	if g.lasting.directory == nil {
		return nil
	}
	return g.lasting.directory()
}

// account is what the directory says of an account that may be used.
func (g *graph) account(name string) (mail.Principal, bool) {
	d := g.records()
	if d == nil {
		return mail.Principal{}, false
	}
	u, known := d.User(name)
	if !known || !u.Usable(g.clock.Now()) {
		return mail.Principal{}, false
	}
	return d.Principal(u), true
}

// records are those of a graph, for the door; there are none before the server is open.
type records struct{ graph *graph }

// IsLocal reports whether a domain is recorded as a local one.
func (r records) IsLocal(domain string) bool {
	d := r.graph.records()
	return d != nil && d.IsLocal(domain)
}

// ResolveFor returns what an address stands for, in what the user with the login sends.
func (r records) ResolveFor(login string, a mail.Address) (directory.Resolution, bool) {
	if d := r.graph.records(); d != nil {
		return d.ResolveFor(login, a)
	}
	return directory.Resolution{}, false
}

// recordedList returns a list for policy as the directory has it, nil if it has none.
func (g *graph) recordedList(name string) *lists.List {
	if r := g.records(); r != nil {
		return r.PolicyList(name)
	}
	return nil
}

// readDirectory reads the directory for a graph that nobody serves, as it is on the disk
// now: a server may have it open.
func (g *graph) readDirectory() error {
	r, err := directory.View(context.Background(), directoryDir(g.config))
	if err != nil {
		return err
	}
	g.lasting.directory = func() *directory.Directory { return r }
	g.lasting.credentials = g.newBook()
	return nil
}

// checkRecorded says why a list for policy cannot be as it is to be: a listener that
// trusts it must not trust a large part of the Internet.
func (g *graph) checkRecorded(l *directory.List) error {
	parsed, err := lists.Parse(lists.Kind(l.Kind), "list:"+l.Name, []byte(strings.Join(l.Entries, "\n")))
	if err != nil {
		return err
	}
	return g.checkList(l.Name, parsed)
}

// recordOptions are what the API needs for records.
func (d *Daemon) recordOptions() admin.Records {
	return admin.Records{
		Directory: d.directory, Senders: d.senders, Seal: sealer(d.clock), Lifted: d.logins.guard.Lifted,
		Keys: d.credentials.Keys, TestLogin: func(ctx context.Context, t admin.CredentialTest) (admin.CredentialTested, error) {
			return d.inForce().testLogin(ctx, t)
		},
		Troubles: d.credentials.Troubles, CredentialChanged: func(name string) { d.deliverer.CredentialWorks(name) },
		CheckList: func(l *directory.List) error { return d.inForce().checkRecorded(l) },
		Advise:    func(ctx context.Context, domain string) []string { return d.inForce().adviseDomain(ctx, domain) },
	}
}

// sealer returns what makes what is stored of a password, one at a time: each takes some
// 19 MiB of memory.
func sealer(clock mail.Clock) func(ctx context.Context, password string) (hash, scram string, err error) {
	h := auth.NewHasher(1, clock)
	return func(ctx context.Context, password string) (hash, scram string, err error) {
		c, err := h.Make(ctx, password)
		if errors.Is(err, auth.ErrBusy) {
			err = fmt.Errorf("%w: %w", admin.ErrBusy, err)
		}
		return c.Password, c.SCRAM, err
	}
}

// adviseRecords warns of records that do not fit the configuration.
func (g *graph) adviseRecords() []config.Problem {
	if g.records() == nil {
		return nil
	}
	var found []config.Problem
	for _, l := range g.lists.Stale() {
		if l.File == "" {
			found = append(found, config.Problem{Key: "list.source", Message: fmt.Sprintf("list %s: %v", l.Name, l.Err)})
		}
	}
	for _, text := range g.userRouteWarnings() {
		found = append(found, config.Problem{Key: "transport.name", Message: text})
	}
	for _, domain := range g.records().Domains() {
		if mail.SameDomain(domain.Name, g.config.Postmaster.Domain) {
			found = append(found, g.config.Problem("postmaster", postmasterHere(g.config.Postmaster), ""))
		}
	}
	return found
}

// userRouteWarnings says which routes users have that lead to no transport.
func (g *graph) userRouteWarnings() []string {
	d := g.records()
	if d == nil {
		return nil
	}
	var warnings []string
	known, routes := g.config.TransportNames(), d.Routes()
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		if !slices.Contains(known, name) && len(warnings) < maxTold {
			warnings = append(warnings, fmt.Sprintf("there is no transport %q, which is the own route of users (%d): what they send waits; postern user list %s names them", name, routes[name], name))
		}
	}
	return warnings
}

// postmasterHere warns of an address for postmaster that is in a local domain.
func postmasterHere(a mail.Address) string {
	return fmt.Sprintf("%s is in a local domain: unless an alias leads it elsewhere, nobody reads what is for postmaster", a)
}

// RecordsInside is the directory of a server that does not run, with a server of its own.
type RecordsInside struct {
	*admin.Inside
	directory   *directory.Directory
	senders     *senders.Inventory
	credentials *credentials.Book
	give        func() error
}

// Records opens the directory of a server that does not run. Close it. It fails when
// another process has it open.
func (m Maintenance) Records(ctx context.Context) (*RecordsInside, error) {
	if err := checkRestored(m.Config); err != nil {
		return nil, err
	}
	g := newGraph(m.Config, mail.SystemClock{})
	if err := errors.Join(g.loadLocal(), g.loadLists()); err != nil {
		return nil, err
	}
	give, err := ownerOf(m.Config.DataDir)
	if err != nil {
		return nil, m.Config.Wrong("data_dir", err)
	}
	d, err := directory.Open(ctx, directory.Options{Dir: directoryDir(m.Config), Logger: m.Logger, Credentials: checkCredentials})
	if err != nil {
		return nil, err
	}
	g.lasting.directory = func() *directory.Directory { return d }
	g.resolver = g.newResolver(dns.Options{})
	if err := errors.Join(g.loadCertificates(), g.loadCredentials(), g.loadTLSOut()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	g.lasting.credentials = g.newBook()
	sent, err := senders.Open(ctx, senders.Options{Directory: d, Logger: m.Logger})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	inside := admin.NewInside(admin.Options{Logger: m.Logger, Transports: m.Config.TransportNames, Records: admin.Records{
		Directory: d, Senders: sent, Seal: sealer(g.clock), CheckList: g.checkRecorded, Advise: g.adviseDomain,
		Keys: g.lasting.credentials.Keys, TestLogin: g.testLogin,
	}})
	return &RecordsInside{inside, d, sent, g.lasting.credentials, func() error { return give(directoryDir(m.Config)) }}, nil
}

// Close ends the server and closes the directory.
func (r *RecordsInside) Close() error {
	err := r.Inside.Close()
	r.credentials.Close()
	return errors.Join(err, r.senders.Close(), r.directory.Close(), r.give())
}

// ownerOf returns what gives files to the user whose data directory it is, if root has
// made them: the server may run as another user.
func ownerOf(dataDir string) (give func(path string) error, err error) {
	info, err := os.Stat(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return func(string) error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if os.Geteuid() != 0 || !ok {
		return func(string) error { return nil }, nil
	}
	return func(path string) error {
		return filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, int(is.Uid), int(is.Gid))
		})
	}, nil
}

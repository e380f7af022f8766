package internal_test

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowedImports says which package of internal/ may import which other. The
// list goes from the words upwards, and a package imports only what stands
// above it; "*" is everything above. A package may be listed before it
// exists. To relax a line is a change of design: give its reason in the
// commit.
const allowedImports = `
# where the crash test may end the process; empty in a normal build
crashpoint:
# a priority queue
heap:

# words: no I/O
mail:
metrics:
# limit has the clock and the times of mail.
limit: mail

# formats: bytes and values; no network, no disk
smtp: mail
pop3:
codepage:
# charset has the charsets of texts, for whoever reads or converts these, and for the settings that name one.
charset:
message: mail charset
dsn: mail message
cms: mail message
smime: mail message cms
config: mail limit charset
filter: mail
# what a proxy says of a connection; for whoever takes clients behind one
proxyproto:

# what watches the process from outside
monitor: limit metrics
systemd:

# httpclient is how sources of accounts ask over HTTP.
httpclient:

# state: disk, database, resolver; no SMTP
# stamp tells whether a file has changed.
stamp:
# privatedir holds and changes a directory of keys.
privatedir: mail stamp
queue: mail filter heap
queue/queuetest: mail queue
seglog: mail
pebblefile:
queue/embedded: mail queue seglog pebblefile metrics crashpoint
queue/postgres: mail queue metrics
journal: mail crashpoint
backup: crashpoint
pressure: mail
history: mail journal
# lists tells what is wrong in a list as config does: a problem with its place.
lists: mail stamp config metrics
# directory has lists for policy, with entries as package lists reads them from files.
directory: mail config lists metrics crashpoint
mailbox: mail message
certs: mail stamp privatedir metrics
dns: mail stamp
# dkim signs, and keeps its keys as certs does.
dkim: mail message stamp privatedir
# container looks at the files of the machine.
container:
trace: mail

# what tests share
mailtest: mail smtp message certs

# decisions
# policy makes its rules of the handlers as config has read them, with their places: a
# copy of those types would be a copy of their logic.
policy: mail message smime dkim limit config metrics
# auth has its settings as config has read them, and so have its sources: those that
# ask a server. What a source tells of a user is a mail.Principal.
auth: mail smtp directory limit config metrics
ldap: mail limit directory auth config metrics
oidc: mail httpclient auth config metrics
httpauth: mail httpclient auth config metrics
tlspolicy: mail
# route makes its rules as policy does: of what config and lists have read.
route: mail config dns directory lists tlspolicy
# pool is a transport of route, whose servers it looks after.
pool: mail dns route tlspolicy metrics
# alignment compares what DNS says of a domain with the keys by which its mail is signed.
alignment: mail dns dkim
# blocklist has its settings as config has read them, as policy does.
blocklist: mail dns limit config metrics

# movers
smtpserver: mail smtp proxyproto limit metrics trace crashpoint
# smtpclient judges a handshake by the policy itself: the levels have their names there.
smtpclient: mail smtp tlspolicy limit metrics trace
# peercerts asks a server for its certificates.
peercerts: mail smtp certs
# credentials has what this host proves to others, from the directory or from an issuer of tokens; its tests show
# that with smtpclient.
credentials: mail directory httpclient privatedir metrics
pop3server: mail pop3 proxyproto limit metrics trace
scan: mail message metrics
# report makes entries of reports, for intake and for deliver.
report: mail message dsn queue
intake: mail smtp message dsn policy queue report directory auth limit metrics crashpoint
# senders is told by intake what comes in, and keeps it in the directory.
senders: mail smtp message directory intake metrics
quarantine: mail message queue intake
jobs: mail smtp codepage message intake metrics
submit: mail smtp codepage message intake metrics
proxy: mail smtp message policy auth smtpserver smtpclient metrics
deliver: mail heap message queue report route tlspolicy smtpclient mailbox dsn limit metrics crashpoint
sink: mail smtp smtpserver
# explain walks a message through the door as a listener of the configuration would, and
# says in the words of smtpserver what that refuses itself.
# It says where mail goes in the words of route.
explain: mail smtp message queue config policy route smtpserver intake
policytest: mail message config explain

# edges
# admin hands intake what is imported, shows the sites as deliver has them, names
# their destinations to the queue, lets people look into what is in quarantine and who
# sends, and changes records of the directory, whose files it reads and writes.
admin: mail message limit certs dkim alignment queue journal directory credentials config intake senders quarantine filter deliver pool
console: admin
events: mail journal
zos: mail admin config
ibmi: mail admin config
# doctor judges room and memory as the gauge will.
doctor: mail route dns certs config directory pressure
daemon: *
# transfer asks a server for the messages that it writes, and hands over those
# that it reads.
transfer: mail queue intake admin
# trial puts a daemon before a sink, and sends to it as a client does.
trial: mail certs config smtpserver smtpclient sink admin daemon
# selftest works on a store of its own, as intake and deliver do together.
selftest: mail queue queue/embedded
# cli shows what admin hands out, which are values of queue and deliver, and says
# what is wrong in a filter before it asks anybody.
cli: mail filter certs peercerts dkim alignment queue explain policytest deliver pool quarantine config admin systemd transfer daemon doctor submit zos ibmi trial selftest
`

// testOnly are the packages that only tests may import.
var testOnly = []string{"mailtest", "queue/queuetest"}

// imports is the list of allowedImports.
type imports struct {
	order   []string
	allowed map[string][]string
}

func parseImports(t *testing.T) imports {
	t.Helper()
	list := imports{allowed: map[string][]string{}}
	for line := range strings.Lines(allowedImports) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, found := strings.Cut(line, ":")
		if !found || slices.Contains(list.order, name) {
			t.Fatalf("allowedImports: line %q has no colon, or its package is listed twice", line)
		}
		allowed := strings.Fields(rest)
		if slices.Equal(allowed, []string{"*"}) {
			allowed = slices.Clone(list.order)
		}
		for _, a := range allowed {
			if !slices.Contains(list.order, a) {
				t.Errorf("allowedImports: %s may import %s, which must stand above it", name, a)
			}
		}
		list.order = append(list.order, name)
		list.allowed[name] = allowed
	}
	return list
}

// inTest are the packages that the tests of a package may import: itself, all
// that stands above it, and the packages for tests.
func (l imports) inTest(name string) []string {
	above := l.order[:slices.Index(l.order, name)+1]
	return slices.Concat(above, testOnly)
}

func TestImports(t *testing.T) {
	list := parseImports(t)
	for _, f := range readTree(t).files {
		name, isInternal := strings.CutPrefix(f.dir, "internal/")
		if !isInternal {
			continue
		}
		if _, listed := list.allowed[name]; !listed {
			t.Errorf("%s: package %s is not listed in allowedImports (internal/deps_test.go): add its line at its layer", f.path, name)
			continue
		}
		for _, imported := range f.internalImports(t) {
			checkImport(t, list, f, name, imported)
		}
	}
}

func checkImport(t *testing.T, list imports, f sourceFile, name, imported string) {
	t.Helper()
	switch {
	case f.isTest && slices.Contains(list.inTest(name), imported):
	case f.isTest:
		t.Errorf("%s: a test of %s may not import %s: it may import what stands above %s in allowedImports, and %s",
			f.path, name, imported, name, strings.Join(testOnly, " and "))
	case slices.Contains(testOnly, imported):
		t.Errorf("%s: only tests may import %s", f.path, imported)
	case !slices.Contains(list.allowed[name], imported):
		t.Errorf("%s: %s may not import %s: declare a small interface in %s for what it needs, or move the code; allowedImports in internal/deps_test.go lists what it may import",
			f.path, name, imported, name)
	}
}

// internalImports returns the packages of internal/ that a file imports.
func (f sourceFile) internalImports(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, spec := range f.syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(name, module+"/internal/"); ok {
			list = append(list, name)
		}
	}
	return list
}

func TestCommandsImportOnlyCLI(t *testing.T) {
	for _, f := range readTree(t).files {
		if !strings.HasPrefix(f.dir, "cmd/") || f.isTest {
			continue
		}
		for _, imported := range f.internalImports(t) {
			if imported != "cli" {
				t.Errorf("%s: a command may import only cli, not %s: put the code in cli", f.path, imported)
			}
		}
	}
}

// What lies under test/ drives the program from outside.
func TestProgramDoesNotImportItsTests(t *testing.T) {
	for _, f := range readTree(t).files {
		for _, spec := range f.syntax.Imports {
			isTestTree := strings.HasPrefix(spec.Path.Value, `"`+path.Join(module, "test")+"/")
			if isTestTree && !strings.HasPrefix(f.dir, "test/") {
				t.Errorf("%s: only what lies under test/ may import %s", f.path, spec.Path.Value)
			}
		}
	}
}

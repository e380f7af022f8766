package config

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
)

var (
	ignorePlace   = cmp.Options{cmpopts.IgnoreTypes(Placed{}), cmpopts.IgnoreFields(Config{}, "Files", "Warnings")}
	compareValues = cmp.Options{
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b BlockAnswer) bool { return a == b }),
		cmp.Comparer(func(a, b Text) bool { return a.Text == b.Text }),
	}
)

// minimal is the smallest file that loads.
const minimal = `version = 1
hostname = "Mail.Example.com."
data_dir = "/var/lib/postern"
postmaster = "postmaster@example.com"

[[listener]]
address = "127.0.0.1:2525"
`

func TestDefaults(t *testing.T) {
	waits := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}
	want := &Config{
		Files: []string{"postern.toml"},
		Placed: Placed{Places: Places{
			"version":    {File: "postern.toml", Line: 1, Column: 1},
			"hostname":   {File: "postern.toml", Line: 2, Column: 1},
			"data_dir":   {File: "postern.toml", Line: 3, Column: 1},
			"postmaster": {File: "postern.toml", Line: 4, Column: 1},
		}},
		Version:    1,
		Hostname:   "mail.example.com",
		DataDir:    "/var/lib/postern",
		Postmaster: mail.Address{Local: "postmaster", Domain: "example.com"},
		Log:        Log{Level: slog.LevelInfo, Format: LogText},
		Listeners: []Listener{{
			Placed:                  Placed{mail.Place{File: "postern.toml", Line: 6, Column: 3}, Places{"listener.address": {File: "postern.toml", Line: 7, Column: 1}}},
			Name:                    "smtp",
			Address:                 netip.MustParseAddrPort("127.0.0.1:2525"),
			Trust:                   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			Relay:                   RelayClients,
			BlockListScore:          1,
			VerifySender:            VerifyOff,
			VerifyFrom:              VerifyOff,
			VerifyAction:            VerifyReject,
			Auth:                    AuthOff,
			VRFY:                    VRFYVague,
			AuthMechanisms:          []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"},
			AuthSources:             []Text{{Text: "directory"}},
			TLSMinVersion:           tls.VersionTLS12,
			ClientCertificates:      ClientCertificatesIgnore,
			AddDate:                 AddAsMessage,
			AddMessageID:            AddAsMessage,
			MaxConnections:          1000,
			MaxConnectionsPerClient: 200,
			MaxSize:                 50 << 20,
			MaxRecipients:           1000,
			MaxMessages:             10000,
			MaxErrors:               20,
			CommandTimeout:          5 * time.Minute,
			DataTimeout:             3 * time.Minute,
			BareNewline:             BareNewlineAuto,
			Sign:                    SignClients,
		}},
		DKIM:       DKIM{Overlap: 7 * 24 * time.Hour, Subdomain: true, Envelope: true},
		ACME:       ACME{Directory: letsEncrypt, Challenge: ChallengeHTTP, CheckEvery: 10 * time.Minute},
		Submission: Submission{MaxSize: 50 << 20, MaxRecipients: 10_000},
		Message: Message{
			AddDate: true, AddMessageID: true, MaxHops: 100,
			DropFields: []string{"Return-Path", "Bcc", "Resent-Bcc", "Content-Length"},
		},
		Delivery: Delivery{
			SmarthostTLS:          TLSOpportunistic,
			MXTLS:                 TLSOpportunistic,
			Port:                  25,
			AddressFamily:         AnyFamily,
			Retry:                 mail.Schedule{Waits: waits, Every: time.Hour, Until: 5 * 24 * time.Hour},
			RetryReports:          mail.Schedule{Waits: waits, Every: time.Hour, Until: 24 * time.Hour},
			DelayWarning:          4 * time.Hour,
			MaxConnections:        500,
			MaxConnectionsPerSite: 20,
			MaxRecipients:         100,
			IdleTimeout:           5 * time.Second,
			ConnectTimeout:        30 * time.Second,
			GreetingTimeout:       5 * time.Minute,
			CommandTimeout:        5 * time.Minute,
			DataTimeout:           2 * time.Minute,
			BlockTimeout:          3 * time.Minute,
			FinalTimeout:          10 * time.Minute,
		},
		Quarantine: Quarantine{Keep: 30 * 24 * time.Hour, DigestEvery: 24 * time.Hour},
		DNS:        DNS{Timeout: 10 * time.Second},
		Journal:    Journal{MaxFile: 64 << 20, Keep: 0},
		Pressure:   Pressure{MinFreeSpace: 256 << 20, MinFreeInodes: 10_000, MaxMemory: 0, SlowCommit: time.Second},
		Auth: Login{
			BanAfter: 10, BanWithin: time.Hour, BanTime: time.Hour, MaxBanTime: 7 * 24 * time.Hour,
			AccountBanAfter: 100, AccountBanTime: 15 * time.Minute, Delay: time.Second,
			NeverBan: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		},
	}
	got := load(t, minimal)
	got.Warnings = nil // TestWarnings
	if diff := cmp.Diff(want, got, compareValues); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// everything sets each setting to something that is not its default.
const everything = `
version = 0x1
include = ["none/*.toml"]
hostname = 'relay.example.net'
data_dir = "data"
postmaster = "root@example.org"
admin_socket = "/run/x.sock"
policy_tests = ["tests/*.toml"]
own_addresses = ["192.0.2.1", "2001:db8::1"]
log = { level = "debug", format = "json" }
message.add_date = false
message.add_message_id = false
message.drop_fields = []
message.max_hops = 200
message.account_in_headers = true
message.class_from_header = true

[[listener]]
name = "in"
address = ":25"
trust = ["10.0.0.0/8", "192.0.2.7", "::ffff:192.0.2.8", "list:lan"]
trust_gateway = true
relay = "both"
near = ["list:partners", "Near.example"]
reject_clients = ["10.9.0.0/16", "list:lan"]
override_reject = true
block_list_score = 3
sender_addresses = ["*@example.org", "list:partners"]
verify_sender = "unlisted"
verify_from = "all"
verify_action = "rewrite"
verify_rewrite = "noreply@example.org"
auth = "optional"
vrfy = "tell"
auth_mechanisms = ["plain", "SCRAM-SHA-256"]
auth_sources = ["directory", "company"]
auth_without_tls = true
percent_routing = true
tls_certificate = "tls/cert.pem"
tls_key = "/etc/tls/key.pem"
certificates = ["files", "authority"]
tls = "implicit"
tls_required = true
tls_min_version = "1.3"
tls_ciphers = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
client_certificates = "accept"
client_authorities = "tls/clients.pem"
proxy_from = ["10.0.0.7"]
extensions_off = ["SMTPUTF8", "CHUNKING", "REQUIRETLS"]
add_date = "no"
add_message_id = "yes"
max_connections = 1_0
max_connections_per_client = 5
max_size = 65536
max_recipients = 100
max_messages = 7
max_errors = 3
command_timeout = "30s"
data_timeout = "2m"
bare_newline = "refuse"
sign = "everybody"
class = "urgent"

[[ listener ]]
name = "local"
address = "[::1]:0"

[[handler]]
name = "rule"
at = "rcpt"
listeners = ["in", "local"]
sender = ["*@example.org", "<>"]
recipient = ["\u004a*"]
when = 'message.size > 1000 && client.address != "192.0.2.1"'
priority = -3
steps = [
  { limit = "100/1h", per = ["client.address"], over = "defer", count = 0x2, loud = true },
  "accept",
]
default = "defer"

[[list]]
name = "partners"
kind = "domains"
file = "lists/partners"

[[list]]
name = "lan"
kind = "networks"
source = "directory"

[[block_list]]
zone = "Key.bl.test"
name = "BL"
kind = "domains"
answers = ["127.0.0.2-11=2", "&0.0.0.6"]
weight = 3
exempt = ["192.0.2.0/24"]
removal = "https://bl.test/"

[[filter]]
name = "scripts"
listeners = ["in"]
originator = ["*@bad.example"]
subject = ["ILOVEYOU"]
attachment = ["*.vbs"]
type = ["image/*"]
match = "all"
unreadable = "match"
then = [{ tag = "bad" }]

[[rate]]
name = "per-client"
listeners = ["in"]
limit = "100 messages per 1h"
per = "network"
over = "hold"
exempt = ["192.0.2.0/24"]

[[ldap]]
name = "corp"
servers = ["dc1.example.com", "[2001:db8::1]:3269"]
tls = "ldaps"
authorities = "ca.pem"
bind_dn = "cn=postern,dc=example,dc=com"
bind_password = "env:LDAP"
base = "dc=example,dc=com"
schema = "active_directory"
user_filter = "(uid={login})"
login_attribute = "uid"
address_filter = "(mail={address})"
address_attributes = ["mail"]
forward_attributes = ["mailRoutingAddress"]
group_base = "ou=groups,dc=example,dc=com"
group_filter = "(member={dn})"
group_attribute = "memberOf"
group_depth = 2
certificate_attribute = "userCertificate;binary"
recipients = false
list_posters = "members"
submit_groups = ["users"]
relay_groups = ["senders"]
timeout = "2s"
max_connections = 3
cache_time = "0s"

[[transport]]
name = "partners"
kind = "mx"
tls = "verify"
tls_ca_file = "partners.pem"
tls_names = ["*.partner.example"]
tls_min_version = "1.3"
tls_certificate = "client"
tls_ehlo = false
hello = "exit.example.org"
source_ipv4 = "192.0.2.9"
source_ipv6 = "2001:db8::9"

[[company]]
name = "acme"
domains = ["Acme.example", ".acme.example"]
hostname = "mail.acme.example"
source_ipv4 = "192.0.2.25"
source_ipv6 = "2001:db8::25"
certificate = "client"
postmaster = "admin@acme.example"
near = [".partner.example", "list:partners"]

[[transport]]
name = "slow"
kind = "lmtp"
hosts = ["unix:/run/dovecot/lmtp", "mailbox.example.com"]
max_connections = 5
max_messages = 50
max_recipients = 20
rate = "100/1m"
max_size = "20MiB"
idle_timeout = "0s"
connect_timeout = "15s"
greeting_timeout = "6m"
command_timeout = "7m"
data_timeout = "4m"
block_timeout = "8m"
final_timeout = "20m"
extensions_off = ["CHUNKING", "REQUIRETLS", "SIZE", "STARTTLS"]

[[transport]]
name = "relays"
hosts = ["relay.example.com:587", "b.example.com"]
port = 2525
lookup_mx = true
balance = "random"
tls = "pin"
tls_pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
tls_implicit = true
credential = "partners"

[[tls]]
domains = ["partner.example", "*.partner.example", "list:partners"]
policy = "pin"
pins = ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
min_version = "1.3"

[[tls]]
domains = ["other.example"]
ca_file = "partners.pem"
names = ["*.other.example"]

[[transport]]
name = "hubs"
kind = "pool"
refresh = "1m"
connect_retry = "30s"
drain_timeout = "5s"

[[target]]
pool = "hubs"
address = "192.0.2.25"
port = 2525
preference = 10
weight = 3
max_connections = 20
max_messages = 100
assumed_size = "1MiB"
secure = true
charset = "Latin1"

[[target]]
pool = "hubs"
name = "hub.example.com"

[[target]]
pool = "hubs"
mx = "hubs.example.com"

[[route]]
name = "split"
recipients = ["*@example.net", "list:partners"]
senders = ["*@example.org"]
accounts = ["app-*"]
listeners = ["in", "sendmail"]
tags = ["bulk"]
only_unknown = true
transport = "relays"
otherwise = ["partners", "mx"]

[[route]]
name = "mapped"
map = "lists/transport"
never_bypass = true

[routing]
router = "relays"
firewall = true
near = [".example.com", "list:partners"]
hosts_file = "hosts"

[dkim]
sign = ["Example.org"]
headers = ["X-Order"]
expiry = "30d"
overlap = "14d"
subdomains = false
envelope_sender = false

[[certificate]]
name = "files"
certificate = "tls/mail.pem"
key = "/etc/tls/mail.key"

[[certificate]]
name = "authority"
acme = true
names = ["mail.example.org"]

[acme]
directory = "https://acme.example/directory"
email = "hostmaster@example.org"
agree_terms = true
challenge = "tls-alpn-01"
address = ":8443"
ca_file = "acme-root.pem"
check_every = "1m"

[auth]
ban_after = 5
ban_within = "2h"
ban_time = "30m"
ban_time_max = "1d"
account_ban_after = 50
account_ban_time = "5m"
never_ban = ["192.0.2.0/24"]
delay = "2s"

[[oidc]]
name = "company"
issuer = "https://login.example.net/realms/mail"
audience = ["mail-programs", "api://mail"]
user_claim = "preferred_username"
unverified_email = true
must_exist = false
address_claims = ["email", "proxy.addresses"]
groups_claim = "realm_access.roles"
services = ["submit", "relay=senders", "pop"]
required_claims = ["hd=example.net", "azp=mail=programs"]
scopes = ["mail.send"]
algorithms = ["ES256"]
clock_skew = "30s"
authorities = "oidc-ca.pem"
timeout = "3s"
refresh = "30m"
key_wait = "1m"
keep_keys = "12h"

[[http_auth]]
name = "intranet"
url = "http://[::1]:8080/login?for=mail"
request = "json"
user_field = "user"
password_field = "pass"
secret_header = "X-Secret"
secret = "env:INTRANET"
services = ["submit"]
client_certificate = "http.pem"
client_key = "http.key"
authorities = "http-ca.pem"
timeout = "2s"
max_connections = 3

[submission]
directory = "spool"
max_size = "1MiB"
max_recipients = 5

[credentials]
key_file = "/k/keys"
authorities = "issuers.pem"

[delivery]
smarthosts = [
  "relay1.example.com:587", # the first
  "[2001:db8::25]",
]
smarthost_tls = "verify"
mx_tls = "required"
port = 2525
address_family = "ipv6"
smarthost_credential = "relay"
retry = "1s, every 2s until 1m"
retry_reports = "every 1h until 2h"
delay_warning = "90m"
copy_failures = true
max_connections = 50
max_connections_per_site = 5
max_recipients = 10
idle_timeout = "1m"
connect_timeout = "1s"
greeting_timeout = "2s"
command_timeout = "3s"
data_timeout = "4s"
block_timeout = "5s"
final_timeout = "1h"

[quarantine]
keep = "7d"
digest_to = "secops@example.org"
digest_every = "12h"

[dns]
servers = ["192.0.2.53", "[2001:db8::53]:5353", "::ffff:192.0.2.54"]
timeout = "3s"

[journal]
max_file = "1GiB"
keep = 30

[pressure]
min_free_space = "1GiB"
min_free_inodes = 0
max_memory = "512MiB"
slow_commit = "1m"

[monitoring]
address = "127.0.0.1:9625"

[admin]
address = "127.0.0.1:8025"
tokens = "env:TOKENS"
tls_certificate = "admin.pem"
tls_key = "admin.key"
`

func TestEverySetting(t *testing.T) {
	got, defaults := load(t, everything), defaultFields()
	want := []any{
		"data", filepath.Join("tls", "cert.pem"), "/etc/tls/key.pem", "/run/x.sock",
		netip.MustParseAddrPort("127.0.0.1:8025"), "env:TOKENS", "admin.pem", "admin.key",
		netip.MustParseAddrPort("[::]:25"), int64(65536), 30 * time.Second, TLSVerify, BareNewlineRefuse, slog.LevelDebug,
		"relay", "partners", "/k/keys", "issuers.pem", "10.0.0.0/8 192.0.2.7/32 192.0.2.8/32", "relay1.example.com:587 [2001:db8::25]:25",
		"1s, every 2s until 1m", int64(1 << 30), "192.0.2.53:53 [2001:db8::53]:5353 192.0.2.54:53", TLSRequired, IPv6First,
	}
	l, d := got.Listeners[0], got.Delivery
	have := []any{
		got.DataDir, l.TLSCertificate, l.TLSKey, got.Socket(),
		got.Admin.Address, got.Admin.Tokens.String(), got.Admin.TLSCertificate, got.Admin.TLSKey,
		l.Address, l.MaxSize, l.CommandTimeout, d.SmarthostTLS, l.BareNewline, got.Log.Level,
		d.SmarthostCredential, got.Transports[slices.IndexFunc(got.Transports, func(x Transport) bool { return x.Name == "relays" })].Credential, got.CredentialsKey(), got.Credentials.Authorities, words(l.Trust), words(d.Smarthosts),
		d.Retry.String(), got.Journal.MaxFile, words(got.DNS.Servers), d.MXTLS, d.AddressFamily,
	}
	if diff := cmp.Diff(want, have, compareValues); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	second := DefaultListener()
	second.Name, second.Address = "local", netip.MustParseAddrPort("[::1]:0")
	if diff := cmp.Diff(second, got.Listeners[1], compareValues, ignorePlace); diff != "" {
		t.Errorf("the second listener has settings of the first (-want +got):\n%s", diff)
	}
	got.Routing.Mailhub = Text{Text: "relays"} // which cannot be set beside smarthosts
	defaultsOf := defaultFields()
	for i := range settings {
		s := &settings[i]
		f := fields{config: got, listener: &l, handler: &got.Handlers[0], list: &got.Lists[0], blockList: &got.BlockLists[0], filter: &got.Filters[0], rate: &got.Rates[0], ldap: &got.LDAP[0],
			certificate: merged(got.Certificates, defaultsOf.certificate), oidc: &got.OIDC[0], httpAuth: &got.HTTPAuth[0],
			transport: merged(got.Transports, defaultsOf.transport),
			tls:       merged(got.TLSDomains, defaultsOf.tls),
			route:     merged(got.Routes, defaultsOf.route),
			company:   merged(got.Companies, defaultsOf.company),
			target:    merged(got.Targets, defaultsOf.target),
		}
		if s.key == "list.source" {
			f.list = &got.Lists[1] // one in the directory has no file
		}
		if s.key != "version" && s.value.show(f) == s.value.show(defaults) {
			t.Errorf("%s has its default, the row sets another field", s.key)
		}
	}
}

func words[T interface{ String() string }](list []T) string {
	var s []string
	for _, v := range list {
		s = append(s, v.String())
	}
	return strings.Join(s, " ")
}

// merged is one table that has of each setting what the first has that does not have its
// default: not all can be set in one.
func merged[T any](tables []T, byDefault *T) *T {
	one := new(T)
	for i := range tables {
		merge(reflect.ValueOf(one).Elem(), reflect.ValueOf(tables[i]), reflect.ValueOf(*byDefault), i == 0)
	}
	return one
}

func merge(into, from, byDefault reflect.Value, first bool) {
	for i := range into.NumField() {
		to := into.Field(i)
		switch {
		case into.Type().Field(i).Anonymous:
			merge(to, from.Field(i), byDefault.Field(i), first)
		case first || reflect.DeepEqual(to.Interface(), byDefault.Field(i).Interface()):
			to.Set(from.Field(i))
		}
	}
}

// TestEveryFieldHasItsSetting counts: TestEverySetting shows that each row
// sets a field of its own, so as many rows as fields leave none over.
func TestEveryFieldHasItsSetting(t *testing.T) {
	var rows int
	config := reflect.TypeOf(Config{})
	for i := range config.NumField() {
		table := config.Field(i).Type
		if table.Kind() == reflect.Slice {
			table = table.Elem()
		}
		if table.Kind() != reflect.Struct || table.PkgPath() != config.PkgPath() || table == reflect.TypeOf(Problem{}) {
			rows++
			continue
		}
		for j := range table.NumField() {
			switch f := table.Field(j); {
			case f.Type == reflect.TypeOf(Placed{}):
			case f.Anonymous:
				rows += f.Type.NumField()
			default:
				rows++
			}
		}
	}
	// Files, Place, Places and Warnings of Config; Filter.Steps, which is filter.then.
	const notSettings = 4 + 1
	fields := len(settings) // and one more of each that can name lists
	for i := range settings {
		if settings[i].value.names != nil {
			fields++
		}
	}
	if rows-notSettings != fields {
		t.Errorf("%d fields, want %d for %d settings", rows-notSettings, fields, len(settings))
	}
}

func TestDefaultsAreNotShared(t *testing.T) {
	DefaultListener().Trust[0] = netip.MustParsePrefix("0.0.0.0/0")
	Default().Message.DropFields[0] = "Subject"
	if DefaultListener().Trust[0] != loopback[0] || Default().Message.DropFields[0] != "Return-Path" {
		t.Error("a change to one configuration changed the defaults")
	}
}

func TestSocket(t *testing.T) {
	c := &Config{DataDir: "/data"}
	if got := c.Socket(); got != "/data/admin.sock" {
		t.Errorf("by default %s", got)
	}
	c.AdminSocket = "/run/s"
	if got := c.Socket(); got != "/run/s" {
		t.Errorf("set, %s", got)
	}
}

// TestSocketOfWhatIsWrong: a server that runs can be asked although the file has
// been broken since.
func TestSocketOfWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"data_dir = \"/data\"\nhostname = mail.test": "/data/admin.sock",
		"hostname = [\ndata_dir = \"/data\"":         "/data/admin.sock",
		"data_dir = /data":                           "/var/lib/postern/admin.sock",
		"admin_socket = \"/run/s\"\ncolour = 1":      "/run/s",
	} {
		_, err := Load(fstest.MapFS{"f": {Data: []byte(text)}}, "f")
		wrong, ok := errors.AsType[*Errors](err)
		if !ok {
			t.Errorf("%q: %v", text, err)
		} else if wrong.Socket != want {
			t.Errorf("%q: %s, want %s", text, wrong.Socket, want)
		}
	}
}

func TestOtherForms(t *testing.T) {
	for name, text := range map[string]string{
		"inline listeners":     "version=1\nhostname='a.b'\ndata_dir='/d'\npostmaster='a@b.c'\nlistener=[{address='[::1]:1'},{name='x',address='[::1]:2'}]\ndelivery.smarthosts=['r']",
		"CRLF and a BOM":       "\ufeff" + strings.ReplaceAll(minimal, "\n", "\r\n"),
		"no final newline":     strings.TrimSpace(minimal),
		"comments":             "# first\n" + minimal + "# last",
		"quoted keys":          strings.Replace(minimal, "hostname", `"hostname"`, 1),
		"escapes and newlines": strings.Replace(minimal, `["relay.example.com"]`, "[\n'relay.example.com',\"\\u0061.b\", # two\n]", 1),
	} {
		t.Run(name, func(t *testing.T) { load(t, text) })
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.toml")
	text := strings.Replace(minimal, "/var/lib/postern", "data", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "data"); c.DataDir != want {
		t.Errorf("data_dir is %s, want %s", c.DataDir, want)
	}
	if err := os.WriteFile(file, []byte("version = 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFile(file); err == nil || !strings.Contains(err.Error(), file+":1:11: version: is 2") {
		t.Errorf("error %v, want a place in %s", err, file)
	}
	absent := filepath.Join(dir, "absent", "x.toml")
	if _, err := LoadFile(absent); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), absent) {
		t.Errorf("error %v, want one that names %s", err, absent)
	}
}

func TestUnreadable(t *testing.T) {
	if _, err := Load(fstest.MapFS{}, "none.toml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(fstest.MapFS{"d": {Mode: fs.ModeDir}}, "d"); err == nil {
		t.Error("a directory was loaded")
	}
	large := fstest.MapFS{"l": {Data: []byte(strings.Repeat("#\n", maxFile))}}
	if _, err := Load(large, "l"); err == nil || !strings.Contains(err.Error(), "read l: larger than 1MiB") {
		t.Errorf("a large file: %v", err)
	}
}

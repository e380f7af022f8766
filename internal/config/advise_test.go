package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wise is a file with nothing to warn of; %s stands in each of its tables.
const wise = `version = 1
hostname = "mail.postern.net"
data_dir = "/var/lib/postern"
postmaster = "postmaster@postern.org"
[[listener]]
address = "127.0.0.1:2525"
`

// TestWarnings: among them networks that are no one's own; those of RFC 6890 2.2 and RFC
// 6598 are private. A port other than that of SMTP (RFC 5321 4.5.4.2) is unwise.
func TestWarnings(t *testing.T) {
	const delivery, smarthost = "[delivery]\n", "[delivery]\nsmarthosts = [\"relay.postern.org\"]\n"
	const outside = "address = \"192.0.2.1:25\"\ntls_certificate = \"c\"\ntls_key = \"k\"\n"
	const corp = "\n[[ldap]]\nname = \"corp\"\nbase = \"dc=x\"\nservers = [\"dc1.postern.net\"]\n"
	const accounts = "auth = \"relay\"\nauth_sources = [\"directory\", \"corp\"]\n"
	const split = "\n[[route]]\nname = \"split\"\nrecipients = [\"*@a.org\"]\nonly_unknown = true\ntransport = \"mx\"\n"
	const vip = "\n[[route]]\nname = \"vip\"\nrecipients = [\"joe@a.org\"]\ntransport = \"mx\"\n"
	public := strings.Replace(wise, "address = \"127.0.0.1:2525\"\n", outside, 1)
	for _, c := range []struct {
		name, text, want string // want is how the one warning begins; "" for none
	}{
		{"nothing", wise, ""},
		{"keys of a directory", wise + accounts + corp, `8:30: listener.auth_sources: users of corp cannot log in by SCRAM`},
		{"no keys needed", wise + accounts + "auth_mechanisms = [\"PLAIN\"]" + corp, ``},
		{"keys of nobody", wise + "auth = \"relay\"\nauth_sources = [\"corp\"]" + corp, ``},
		{"no accounts", wise + "auth_sources = [\"directory\", \"corp\"]" + corp, ``},
		{"an address of a directory", wise + strings.Replace(corp, "dc1.postern.net", "192.0.2.1", 1), `11:11: ldap.servers: 192.0.2.1 is an address`},
		{"a directory in clear", wise + corp + "tls = \"unsafe_none\"", `12:7: ldap.tls: sends passwords to dc1.postern.net in clear`},
		{"a directory here in clear", wise + strings.Replace(corp, "dc1.postern.net", "127.0.0.1", 1) + "tls = \"none\"", ``},
		{"hostname", strings.Replace(wise, "postern.net", "example.net", 1), `2:12: hostname: "mail.example.net" is the name of an example`},
		{"hostname like one", strings.Replace(wise, "postern.net", "anexample.net", 1), ""},
		{"postmaster", strings.Replace(wise, "postern.org", "Example", 1), `4:14: postmaster: "postmaster@Example" is the address of an example`},
		{"size", wise + "max_size = \"8KiB\"", `7:12: listener.max_size: is "8KiB": RFC 5321 4.5.3.1.7`},
		{"size that is enough", wise + "max_size = \"64KiB\"", ``},
		{"recipients", wise + "max_recipients = 99", `7:18: listener.max_recipients: is 99: RFC 5321 4.5.3.1.8`},
		{"timeout", wise + "command_timeout = \"299s\"", `7:19: listener.command_timeout: is "299s": RFC 5321 4.5.3.2.7`},
		{"timeout of data", wise + "data_timeout = \"1m\"", `7:16: listener.data_timeout: is "1m": RFC 5321 4.5.3.2.5`},
		{"hops", wise + "[message]\nmax_hops = 25", `8:12: message.max_hops: is 25: RFC 5321 6.3`},
		{"timeouts", wise + delivery + "greeting_timeout = \"1m\"", `8:20: delivery.greeting_timeout: is "1m": RFC 5321 4.5.3.2.1`},
		{"timeout of commands", wise + delivery + "command_timeout = \"1m\"", `8:19: delivery.command_timeout: is "1m": RFC 5321 4.5.3.2.2`},
		{"timeout of DATA", wise + delivery + "data_timeout = \"1m\"", `8:16: delivery.data_timeout: is "1m": RFC 5321 4.5.3.2.4`},
		{"timeout of blocks", wise + delivery + "block_timeout = \"1m\"", `8:17: delivery.block_timeout: is "1m": RFC 5321 4.5.3.2.5`},
		{"timeout at the end", wise + delivery + "final_timeout = \"1m\"", `8:17: delivery.final_timeout: is "1m": RFC 5321 4.5.3.2.6`},
		{"short schedule", wise + delivery + "retry = \"1m, every 1h until 3d\"", `8:9: delivery.retry: gives up after 3d: RFC 5321 4.5.4.1`},
		{"long enough", wise + delivery + "retry = \"1m, every 1h until 4d\"", ``},
		{"hasty schedule", wise + delivery + "retry = \"1m, every 1m until 5d\"", `8:9: delivery.retry: repeats every 1m: RFC 5321 4.5.4.1`},
		{"late warning", wise + delivery + "delay_warning = \"5d\"", `8:17: delivery.delay_warning: is 5d, and mail is given up after 5d`},
		{"one site", wise + delivery + "max_connections = 100\nmax_connections_per_site = 101", `9:28: delivery.max_connections_per_site: is 101, more than the 100 of max_connections`},
		{"one client", wise + "max_connections = 10\nmax_connections_per_client = 11", `8:30: listener.max_connections_per_client: is 11, more than the 10`},
		{"the default of one client", wise + "max_connections = 10", ``},
		{"journal", wise + "[journal]\nkeep = 1", `8:8: journal.keep: is 1: `},
		{"a quarantine for ever", wise + "[quarantine]\nkeep = \"0s\"", `8:8: quarantine.keep: is "0s": nothing is ever removed`},
		{"a hasty quarantine", wise + "[quarantine]\nkeep = \"1d\"", `8:8: quarantine.keep: is "1d": what comes on a Friday`},
		{"digests", wise + "[quarantine]\nkeep = \"3d\"\ndigest_every = \"59m\"", `9:16: quarantine.digest_every: is "59m": `},
		{"free space", wise + "max_size = \"1MiB\"\n[pressure]\nmin_free_space = \"32MiB\"", `9:18: pressure.min_free_space: is "32MiB": `},
		{"monitoring everywhere", wise + "[monitoring]\naddress = \":9625\"", `8:11: monitoring.address: "[::]:9625" can be reached`},
		{"monitoring outside", wise + "[monitoring]\naddress = \"9.9.9.9:9625\"", `8:11: monitoring.address: "9.9.9.9:9625" can be reached`},
		{"monitoring inside", wise + "[monitoring]\naddress = \"10.1.1.1:9625\"", ``},
		{"large messages", wise + "max_size = \"1GiB\"", `7:12: listener.max_size: is 1GiB, more than the 256MiB of pressure.min_free_space`},
		{"nobody trusted", wise + "trust = []", `7:9: listener.trust: is empty`},
		{"nobody trusted where accounts are", wise + "trust = []\nauth = \"required\"", ``},
		{"nobody relays", wise + "trust = []\nrelay = \"nobody\"", ``},
		{"everybody relays", wise + "relay = \"everybody\"", `7:9: listener.relay: is an open relay`},
		{"near nothing", wise + "relay = \"near\"", `7:9: listener.relay: is "near", but near has no domains`},
		{"near in vain", wise + "near = [\"a.example\"]", `7:1: listener.near: does nothing, because relay is "clients"`},
		{"near", wise + "near = [\"a.example\"]\nrelay = \"both\"", ``},
		{"nothing to override", wise + "override_reject = true", `7:1: listener.override_reject: does nothing`},
		{"something to override", wise + "reject_clients = [\"10.0.0.1\"]\noverride_reject = true", ``},
		{"in clear", strings.Replace(wise, "127.0.0.1", "10.0.0.1", 1), `6:11: listener.address: takes mail from other machines, and only in clear`},
		{"with TLS", public, ``},
		{"clear on purpose", public + "tls = \"none\"", `6:11: listener.address: takes mail from other machines, and only in clear`},
		{"old TLS", strings.Replace(public, "192.0.2.1:25", ":25", 1) + "tls_min_version = \"1.1\"", `9:19: listener.tls_min_version: is unsafe: whoever`},
		{"old TLS nearby", strings.Replace(public, "192.0.2.1:25", "10.0.0.1:25", 1) + "tls_min_version = \"1.0\"", ``},
		{"repairs for everybody", public + "bare_newline = \"repair\"", `9:16: listener.bare_newline: repairs bare newlines for everybody`},
		{"repairs nearby", wise + "bare_newline = \"repair\"", ``},
		{"a weak cipher", public + "tls_ciphers = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\", \"TLS_RSA_WITH_RC4_128_SHA\"]", `9:57: listener.tls_ciphers: "TLS_RSA_WITH_RC4_128_SHA" can be broken`},
		{"authorities in vain", public + "client_authorities = \"a\"", `9:1: listener.client_authorities: does nothing`},
		{"authorities", public + "client_authorities = \"a\"\nclient_certificates = \"accept\"", ``},
		{"STARTTLS at 465", strings.Replace(public, ":25", ":465", 1), `6:11: listener.address: has port 465`},
		{"TLS at 465", strings.Replace(public, ":25", ":465", 1) + "tls = \"implicit\"", ``},
		{"TLS at 587", strings.Replace(public, ":25", ":587", 1) + "tls = \"implicit\"", `6:11: listener.address: has port 587`},
		{"a proxy", public + "proxy_from = [\"10.0.0.0/8\", \"192.0.2.9\"]", ``},
		{"private networks", public + "trust = [\"10.0.0.0/8\", \"172.16.0.0/12\", \"100.64.0.0/10\", \"fc00::/7\", \"::1\"]", ``},
		{"one's own", public + "trust = [\"198.51.0.0/16\", \"2001:db8::/32\"]", ``},
		{"a large network", public + "trust = [\n\"10.0.0.0/8\",\n\"198.0.0.0/8\"]", `11:1: listener.trust: "198.0.0.0/8" has 2^24 addresses of the Internet`},
		{"a large one of IPv6", public + "trust = [\"2001::/16\"]", `9:10: listener.trust: "2001::/16" has 2^112 addresses of the Internet`},
		{"everybody, on this host", wise + "trust = [\"0.0.0.0/0\", \"::/0\"]", ``},
		{"clear to a smarthost", wise + smarthost + "smarthost_tls = \"none\"", `9:17: delivery.smarthost_tls: all mail goes to relay.postern.org:25 in clear`},
		{"clear to an address", wise + delivery + "smarthosts = [\"10.0.0.1\", \"203.0.113.1\"]\nsmarthost_tls = \"none\"", `9:17: delivery.smarthost_tls: all mail goes to 203.0.113.1:25 in clear`},
		{"clear within", wise + delivery + "smarthosts = [\"10.0.0.1\", \"[fd00::1]\", \"localhost\"]\nsmarthost_tls = \"none\"", ``},
		{"a smarthost twice", wise + delivery + "smarthosts = [\"10.0.0.1\", \"10.0.0.1:25\"]", `8:14: delivery.smarthosts: 10.0.0.1:25 is named twice`},
		{"no effect with smarthosts", wise + smarthost + "port = 26", `9:1: delivery.port: has no effect`},
		{"no effect with smarthosts, TLS", wise + smarthost + "mx_tls = \"none\"", `9:1: delivery.mx_tls: has no effect`},
		{"no effect without", wise + delivery + "smarthost_tls = \"verify\"", `8:1: delivery.smarthost_tls: has no effect`},
		{"clear to everybody", wise + delivery + "mx_tls = \"none\"", `8:10: delivery.mx_tls: all mail goes over the Internet in clear`},
		{"another port", wise + delivery + "port = 26", `8:8: delivery.port: is 26`},
		{"a split domain above a part of it", wise + split + vip, `11:1: route.only_unknown: is true, so that the route "vip" below, which takes the same recipients, is asked first`},
		{"a split domain below a part of it", wise + vip + split, ``},
		{"a split domain and another", wise + split + strings.Replace(vip, "@a.org", "@b.org", 1), ``},
		{"a split domain and other senders", wise + split + "senders = [\"<>\"]" + vip + "senders = [\"*@c.org\"]", ``},
		{"two splits", wise + split + vip + "only_unknown = true", ``},
		{"name servers", wise + "[dns]\nservers = [" + strings.Repeat("\"192.0.2.1\",", 9) + "]", `8:11: dns.servers: are 9, and only the first 8 are asked`},
	} {
		wantWarning(t, c.name, c.text, c.want)
	}
}

// wantWarning loads a text and compares the one warning, by how it begins; "" for none.
func wantWarning(t *testing.T, name, text, want string) {
	t.Helper()
	warnings := load(t, text).Warnings
	switch {
	case want == "" && len(warnings) == 0:
	case len(warnings) != 1 || want == "" || !strings.HasPrefix(warnings[0].String(), "postern.toml:"+want) || warnings[0].Hint == "":
		t.Errorf("%s: %v\nwant %s", name, warnings, want)
	}
}

func TestWarningsAreInTheOrderOfTheFiles(t *testing.T) {
	c, err := Load(texts(
		"f", "include = [\"z\", \"a\"]\n"+wise+"max_size = \"1KiB\"\n",
		"z", "log.level = \"info\"\n[delivery]\nport = 26\n",
		"a", "[journal]\nkeep = 1\n",
	), "f")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, w.Place.String())
	}
	if diff := cmp.Diff([]string{"f:8:12", "z:3:8", "a:2:8"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

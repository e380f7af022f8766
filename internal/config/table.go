package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"postern/internal/mail"
)

const (
	day = 24 * time.Hour

	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// MinFreeSpace is the least that pressure.min_free_space can be, in octets: no
// work can be finished with less.
const MinFreeSpace = 16 * mib

// loopback is who may relay when nothing else is said.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// reportSchedule is mail.DefaultSchedule cut off at a day: a report that
// cannot be delivered by then interests nobody.
var reportSchedule = mail.Schedule{
	Waits: mail.DefaultSchedule.Waits,
	Every: mail.DefaultSchedule.Every,
	Until: day,
}

// settings are all settings, in the order of the reference. A row's fields
// are described at the type setting.
var settings = slices.Concat(serverSettings, doorSettings, accountSettings, loginSettings, ldapSettings, oidcSettings, httpAuthSettings, policySettings, filterSettings, certificateSettings, transportSettings, dkimSettings, companySettings, classSettings, transportWaySettings, transportLimitSettings, poolSettings, tlsOutSettings, credentialSettings, routeSettings, mailSettings)

// serverSettings are those of the server itself and of its listeners.
var serverSettings = []setting{
	{
		key:      "version",
		value:    one(integer(1, 1), func(f fields) *int { return &f.config.Version }, 1),
		effect:   AtReload,
		required: true,
		example:  "1",
		text:     "The version of this format. A later release that reads the file in another way will ask for another number, and never guess.",
	},
	{
		key:     "include",
		value:   sum(pattern, func(f fields) *[]string { return &f.config.Include }),
		effect:  AtReload,
		perFile: true,
		text: "Other files that are read as well, relative to the file that names them. The last part of a path may be a pattern (`*`, `?`, `[a-z]`): it stands for all files that match, in the order of their names, " +
			"and for none when none does; a path without one must exist. Names that begin with a dot match no `*`. " +
			"A file that is included is written as the first one, and can include others, up to 8 deep; all together may be 256 files and 8 MiB. " +
			"Tables in double brackets, such as `[[listener]]`, add up. Every other setting but this one and `policy_tests` can be set once, in whichever file.",
	},
	{
		key:    "policy_tests",
		value:  patternsHere(func(f fields) *[]string { return &f.config.PolicyTests }),
		effect: AtReload,
		text: "Files of cases that say what is to become of a message: `check` runs them, and fails when one fails; a reload warns of it, and takes the configuration all the same; a start does not run them. " +
			"The last part of a path may be a pattern, as in `include`. [policy.md](policy.md#cases-of-your-own) tells how they are written.",
		see: []string{"include"},
	},
	{
		key:      "hostname",
		value:    one(notExampleName(hostname), func(f fields) *string { return &f.config.Hostname }, ""),
		effect:   AtReload,
		required: true,
		example:  `"mail.example.com"`,
		text: "The full name of this host in DNS. The server greets its clients with it, presents itself with it to the next server, and writes it " +
			"into the Received fields. Many servers refuse mail from a host whose name does not lead to the address it comes from, or that address not back to the name; `postern check --dns` asks whether they do.",
		see: []string{"own_addresses"},
	},
	{
		key:      "data_dir",
		value:    file(func(f fields) *string { return &f.config.DataDir }),
		effect:   AtRestart,
		required: true,
		example:  `"/var/lib/postern"`,
		text: "The directory for the queue, the journal, the directory of users, and the keys and certificates that commands make. It is made when it does not exist. It must be on a local disk that keeps its promises: " +
			"mail is acknowledged when it has been synced to this directory, and not before. One server has it alone.",
	},
	{
		key:      "postmaster",
		value:    one(notExampleAddress(mailAddress), func(f fields) *mail.Address { return &f.config.Postmaster }, mail.Address{}),
		effect:   AtReload,
		required: true,
		example:  `"admin@example.com"`,
		text: "Where mail for `postmaster` at this host goes; every mail server must have somebody who reads it (RFC 5321 4.5.1). " +
			"It is a mailbox on another server: one at this host itself is refused.",
		see: []string{"own_addresses"},
	},
	{
		key:       "admin_socket",
		value:     file(func(f fields) *string { return &f.config.AdminSocket }),
		effect:    AtRestart,
		byDefault: "`admin.sock` in `data_dir`",
		example:   `"/run/postern/admin.sock"`,
		text: "The Unix socket by which the other commands (`postern status`, `postern queue list` and so on) reach the server. " +
			"Whoever may open it may do all that an operator can. Its path may have 107 octets.",
	},
	{
		key:    "own_addresses",
		value:  list(ipAddress, func(f fields) *[]netip.Addr { return &f.config.OwnAddresses }),
		effect: AtReload,
		text: "The addresses of this host as others see them, for mail to `user@[192.0.2.1]`. It is treated as mail for a local domain is ([directory-commands.md](directory-commands.md#domains)). " +
			"Loopback addresses and the address a client connected to need not be named. Name those that lie on a router or load balancer before this host. " +
			"A server of a domain that has one of them is taken for this host too, and never connected to.",
		see: []string{"postmaster"},
	},

	{
		key: "log.level",
		value: one(oneOf(
			choice[slog.Level]{"error", slog.LevelError, "only what needs attention"},
			choice[slog.Level]{"warn", slog.LevelWarn, "also what may need attention, such as a message that was not taken for want of room or because of an error here"},
			choice[slog.Level]{"info", slog.LevelInfo, "also every message taken in and every attempt to deliver one"},
			choice[slog.Level]{"debug", slog.LevelDebug, "also what helps to find a fault in the server"},
		), func(f fields) *slog.Level { return &f.config.Log.Level }, slog.LevelInfo),
		effect: AtReload,
		text:   "How much is logged. `postern log-level` sets it in a running server, until that ends or until a reload finds that this setting has changed.",
	},
	{
		key: "log.format",
		value: one(oneOf(
			choice[LogFormat]{"text", LogText, "key=value pairs, for people"},
			choice[LogFormat]{"json", LogJSON, "one JSON object a line, for programs"},
		), func(f fields) *LogFormat { return &f.config.Log.Format }, LogText),
		effect: AtRestart,
		text:   "The form of a line.",
	},

	{
		key:    "listener.name",
		value:  one(plainName, func(f fields) *string { return &f.listener.Name }, "smtp"),
		unique: true,
		effect: AtReload,
		text:   "What the listener is called in the log and in the journal. The names `postern` and `sendmail` are taken.",
	},
	{
		key:      "listener.address",
		value:    one(listenAddress, func(f fields) *netip.AddrPort { return &f.listener.Address }, netip.AddrPort{}),
		effect:   AtReload,
		required: true,
		example:  `"127.0.0.1:2525"`,
		text: "The address and port to listen at. `\":25\"` is port 25 of every address of the host, by IPv4 and IPv6. Ports below 1024 need root or the capability " +
			"CAP_NET_BIND_SERVICE. Port 0 takes one that is free, which the log names.",
	},
	{
		key:    "listener.trust",
		value:  withLists(list(network, func(f fields) *[]netip.Prefix { return &f.listener.Trust }, loopback...), ListNetworks, func(f fields) *[]Text { return &f.listener.TrustLists }),
		effect: AtReload,
		text: "The networks whose clients may send mail to anywhere, as `relay` has it by default. A client from elsewhere may write to the addresses of this host, `postmaster` among them, and to nobody else. " +
			"Name networks that are yours: a server that sends mail for strangers is soon used for spam, until no one takes mail from it any more. " +
			"A network that is a large part of the Internet (an IPv4 prefix shorter than 8, or a public IPv6 prefix shorter than 16) is refused, unless the listener has a loopback address. " +
			"`\"list:NAME\"` stands for the networks of a list, for which the same holds, also when its file changes.",
		see: []string{"listener.relay", "listener.bare_newline", "list.name"},
	},
	{
		key:    "listener.trust_gateway",
		value:  one(boolean, func(f fields) *bool { return &f.listener.TrustGateway }, false),
		effect: AtReload,
		text: "Whether a client may be trusted although it has the address of the default gateway, or, in a container, of the container itself. Behind address translation every client can appear with these addresses, " +
			"strangers too: [lists.md](lists.md#the-gateway-of-a-container) tells how that comes, and what to do instead. Set it to `true` only if nobody but your own clients can reach the listener through it.",
		see: []string{"listener.trust"},
	},
	{
		key: "listener.relay",
		value: one(oneOf(
			choice[Relay]{"nobody", RelayNobody, "mail for this host only"},
			choice[Relay]{"near", RelayNear, "also mail from everybody for the domains in `near`"},
			choice[Relay]{"clients", RelayClients, "also mail for anywhere from the clients in `trust`"},
			choice[Relay]{"both", RelayBoth, "both: from the clients in `trust` for anywhere, and from everybody for `near`"},
			choice[Relay]{"everybody", RelayEverybody, "mail from everybody for anywhere: an open relay, which is soon used for spam"},
		), func(f fields) *Relay { return &f.listener.Relay }, RelayClients),
		effect: AtReload,
		text: "Whose mail for other hosts is taken. Users of this host who send by `sendmail` may send to anywhere. A handler with the step `allow_relay` lets others. " +
			"What is not taken is refused at RCPT with 550 5.7.1. [policy.md](policy.md) shows what each word does for whom.",
		see: []string{"listener.trust", "listener.near"},
	},
	{
		key:    "listener.near",
		value:  withLists(list(domain, func(f fields) *[]string { return &f.listener.Near }), ListDomains, func(f fields) *[]Text { return &f.listener.NearLists }),
		effect: AtReload,
		text: "Domains for which mail is taken from everybody, with `relay` set to `near` or `both`: those of the servers behind this one. A domain below one that is named is another domain. " +
			"`\"list:NAME\"` stands for those of a list.",
		see: []string{"listener.relay", "list.name"},
	},
	{
		key:    "listener.reject_clients",
		value:  withLists(list(network, func(f fields) *[]netip.Prefix { return &f.listener.RejectClients }), ListNetworks, func(f fields) *[]Text { return &f.listener.RejectLists }),
		effect: AtReload,
		text:   "Networks whose clients are refused when they connect, with 554 5.7.1. `\"list:NAME\"` stands for those of a list.",
		see:    []string{"listener.override_reject", "list.name"},
	},
	{
		key:    "listener.override_reject",
		value:  one(boolean, func(f fields) *bool { return &f.listener.OverrideReject }, false),
		effect: AtReload,
		text:   "What becomes of a client that is in `reject_clients` and in `trust`: `false` refuses it, `true` lets it in.",
		see:    []string{"listener.reject_clients", "listener.trust"},
	},
	{
		key:    "listener.percent_routing",
		value:  one(boolean, func(f fields) *bool { return &f.listener.PercentRouting }, false),
		effect: AtReload,
		text: "Whether `user%host@local`, with a domain of this host itself, means `user@host` (RFC 1123 5.2.16). Whether the client may send there is asked about `user@host`. " +
			"Without it the address is that of an unknown user of this host.",
		see: []string{"listener.relay"},
	},
	{
		key:       "listener.tls_certificate",
		value:     file(func(f fields) *string { return &f.listener.TLSCertificate }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"/etc/postern/tls/fullchain.pem"`,
		text: "A PEM file with the certificate for `hostname`, followed by those of its issuers. With it the listener does TLS, as `tls` says. It can do so with `certificates`, too, " +
			"or with what `postern cert` has assigned to it; without any of these, mail comes in in clear.",
		see: []string{"listener.tls_key", "listener.tls", "listener.certificates"},
	},
	{
		key:       "listener.tls_key",
		value:     file(func(f fields) *string { return &f.listener.TLSKey }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"/etc/postern/tls/key.pem"`,
		text:      "A PEM file with the private key of the certificate, without a passphrase. Only the server's user should be able to read it.",
		see:       []string{"listener.tls_certificate"},
	},
	{
		key:    "listener.max_connections",
		value:  one(integer(1, 100_000), func(f fields) *int { return &f.listener.MaxConnections }, 1000),
		effect: AtReload,
		text:   "How many clients may be connected at once. One more is answered with 421 and may come back later.",
		see:    []string{"listener.max_connections_per_client"},
	},
	{
		key:    "listener.max_connections_per_client",
		value:  one(integer(1, 100_000), func(f fields) *int { return &f.listener.MaxConnectionsPerClient }, 200),
		effect: AtReload,
		text: "How many of these connections one client address may have. It keeps one client that runs wild from shutting out the others, and leaves room for batch jobs that " +
			"send from this host with many connections at once.",
		see: []string{"listener.max_connections"},
	},
	{
		key: "listener.max_size",
		value: one(atLeast(size(kib, 2*gib), 64*kib, "RFC 5321 4.5.3.1.7 wants every server to take messages of 64 KiB"),
			func(f fields) *int64 { return &f.listener.MaxSize }, 50*mib),
		effect: AtReload,
		text: "The size of the largest message taken. It is announced to clients (SIZE, RFC 1870); a larger message is refused with 552. " +
			"Attachments grow by a third on their way: files of 35 MiB need 50 MiB here. RFC 5321 4.5.3.1.7 asks for at least 64 KiB.",
	},
	{
		key: "listener.max_recipients",
		value: one(atLeast(integer(1, 50_000), 100, "RFC 5321 4.5.3.1.8 wants every server to take 100 recipients, and some clients count on it"),
			func(f fields) *int { return &f.listener.MaxRecipients }, 1000),
		effect: AtReload,
		text: "How many recipients one message may have. One more is answered with 452, upon which a client sends the message again for the rest. " +
			"RFC 5321 4.5.3.1.8 asks for at least 100.",
	},
	{
		key:    "listener.max_messages",
		value:  one(integer(1, 1_000_000), func(f fields) *int { return &f.listener.MaxMessages }, 10_000),
		effect: AtReload,
		text:   "How many messages one connection may bring. After that it is closed with 421, and the client connects again.",
	},
	{
		key:    "listener.max_errors",
		value:  one(integer(1, 1000), func(f fields) *int { return &f.listener.MaxErrors }, 20),
		effect: AtReload,
		text:   "How many commands of one connection may be refused before it is closed with 421. It ends dictionary attacks and programs that do not listen.",
	},
	{
		key: "listener.command_timeout",
		value: one(atLeast(duration(time.Second, time.Hour), 5*time.Minute, "RFC 5321 4.5.3.2.7 lets a client take 5 minutes; a busy one would lose its connection"),
			func(f fields) *time.Duration { return &f.listener.CommandTimeout }, 5*time.Minute),
		effect: AtReload,
		text:   "How long a client may take for its next command before the connection is closed with 421. RFC 5321 4.5.3.2.7 asks for at least 5 minutes.",
	},
	{
		key: "listener.data_timeout",
		value: one(atLeast(duration(time.Second, time.Hour), 3*time.Minute, "RFC 5321 4.5.3.2.5 lets a client take 3 minutes for a block; one on a slow line would begin again and again"),
			func(f fields) *time.Duration { return &f.listener.DataTimeout }, 3*time.Minute),
		effect: AtReload,
		text:   "How long a client may pause in the middle of a message before the connection is closed with 421. RFC 5321 4.5.3.2.5 expects blocks of data within 3 minutes.",
	},
	{
		key: "listener.bare_newline",
		value: one(oneOf(
			choice[BareNewline]{"auto", BareNewlineAuto, "repair for clients in `trust`, refuse for all others"},
			choice[BareNewline]{"repair", BareNewlineRepair, "make each of them a whole line end, CR LF, and each NUL a space"},
			choice[BareNewline]{"refuse", BareNewlineRefuse, "refuse the message with 550 5.6.0"},
		), func(f fields) *BareNewline { return &f.listener.BareNewline }, BareNewlineAuto),
		effect: AtReload,
		text: "What becomes of a message with a CR or LF that stands alone (RFC 5321 2.3.8 forbids them), or with NUL (RFC 5322 2.2). Passing them on is how one message is smuggled inside another, " +
			"so that is never done. Simple programs and devices send them in good faith. Content that is no text must be encoded, as with Base64: whatever is done with such octets spoils it, " +
			"and `refuse` tells the program that sends it.",
		see: []string{"listener.trust"},
	},
}

package config

import (
	"net/netip"
	"time"

	"postern/internal/mail"
)

// mailSettings are those of mail that is taken, and of what becomes of it.
var mailSettings = []setting{
	{
		key:       "submission.directory",
		value:     file(func(f fields) *string { return &f.config.Submission.Directory }),
		effect:    AtRestart,
		byDefault: "none: no mail is taken this way",
		example:   `"/var/spool/postern"`,
		text: "The directory in which `postern sendmail` and the server meet: a socket, and a place where messages are left while the server is down. It is made when it does not exist. " +
			"Every user of the host may send mail by it, to anywhere, so it must be on a local file system. The command looks in `/var/spool/postern`; for another directory " +
			"set the variable `POSTERN_SUBMISSION` where programs run.",
		see: []string{"submission.max_size", "postmaster"},
	},
	{
		key:    "submission.max_size",
		value:  one(size(kib, 2*gib), func(f fields) *int64 { return &f.config.Submission.MaxSize }, 50*mib),
		effect: AtRestart,
		text:   "The size of the largest message that `postern sendmail` takes. The program that sends a larger one is told so; the exit code is 65.",
		see:    []string{"submission.directory", "listener.max_size"},
	},
	{
		key:    "submission.max_recipients",
		value:  one(integer(1, 100_000), func(f fields) *int { return &f.config.Submission.MaxRecipients }, 10_000),
		effect: AtRestart,
		text:   "How many recipients a message by `postern sendmail` may have. A message is taken for all of them or for none.",
		see:    []string{"submission.directory", "listener.max_recipients"},
	},

	{
		key:    "message.add_date",
		value:  one(boolean, func(f fields) *bool { return &f.config.Message.AddDate }, true),
		effect: AtReload,
		text:   "Add a Date field to a message that has none. RFC 5322 3.6 requires one, and many servers count its absence as a sign of spam.",
	},
	{
		key:    "message.add_message_id",
		value:  one(boolean, func(f fields) *bool { return &f.config.Message.AddMessageID }, true),
		effect: AtReload,
		text:   "Add a Message-ID field to a message that has none. Without one, replies cannot be sorted into threads and a message is hard to trace.",
	},
	{
		key: "message.drop_fields",
		value: list(fieldName, func(f fields) *[]string { return &f.config.Message.DropFields },
			"Return-Path", "Bcc", "Resent-Bcc", "Content-Length"),
		effect: AtReload,
		text: "Header fields that are taken out, in any case of letters. Bcc would show its recipients to all others; Return-Path is for the last server to write; " +
			"Content-Length is wrong as soon as a field is added. `[]` takes out none.",
	},
	{
		key: "message.max_hops",
		value: one(atLeast(integer(1, 1000), 100, "RFC 5321 6.3 wants room for 100; mail that took a long way would be refused as a loop"),
			func(f fields) *int { return &f.config.Message.MaxHops }, 100),
		effect: AtReload,
		text:   "How many Received fields a message may have. One that has more has been going round in a circle, and is refused with 554 5.4.6. RFC 5321 6.3 asks for at least 100.",
	},

	{
		key:    "delivery.smarthosts",
		value:  list(server, func(f fields) *[]mail.HostPort { return &f.config.Delivery.Smarthosts }),
		effect: AtReload,
		text: "The servers that take all outgoing mail, in the order in which they are tried, such as `[\"relay.example.com\"]`. Each is a name or an address, with a port unless it is 25; " +
			"IPv6 addresses stand in brackets, `\"[2001:db8::1]:587\"`. Port 587 is for submission with STARTTLS; port 465, where TLS begins with the first octet, needs a [transport](#transporttls_implicit). A name is looked up for every attempt, and all its addresses are tried. " +
			"When none of the servers can be reached, mail waits. Without smarthosts, mail goes directly to its domain; for that this host needs a name and an address that " +
			"other servers trust, as `postern check --dns` tells, and connections to port 25 that nobody blocks.",
		see: []string{"delivery.smarthost_tls", "delivery.port", "delivery.mx_tls", "hostname"},
	},
	{
		key:    "delivery.smarthost_tls",
		value:  one(tlsPolicy("for the configured name"), func(f fields) *TLSPolicy { return &f.config.Delivery.SmarthostTLS }, TLSOpportunistic),
		effect: AtReload,
		text: "What TLS a connection to a smarthost must have. `opportunistic` and `required` keep out who only listens; only `verify` keeps out who can stand in between. " +
			"Mail for which the demand is not met waits.",
		see: []string{"delivery.smarthosts", "delivery.smarthost_credential"},
	},
	smarthostCredential,
	{
		key:    "delivery.mx_tls",
		value:  one(tlsPolicy("for the name in the MX record"), func(f fields) *TLSPolicy { return &f.config.Delivery.MXTLS }, TLSOpportunistic),
		effect: AtReload,
		text: "What TLS a connection to a server of the recipient's domain must have. Many servers have a certificate that nobody vouches for, and some have no TLS, " +
			"so that with `required` or `verify` mail for their domains waits and is sent back in the end. Not even `verify` keeps out who can forge answers of DNS.",
		see: []string{"delivery.smarthosts"},
	},
	{
		key:    "delivery.port",
		value:  one(integer(1, 65535), func(f fields) *int { return &f.config.Delivery.Port }, smtpPort),
		effect: AtReload,
		text:   "The port of the servers to which mail goes directly. All of the Internet uses 25; another is for tests.",
		see:    []string{"delivery.smarthosts"},
	},
	{
		key: "delivery.address_family",
		value: one(oneOf(
			choice[AddressFamily]{"any", AnyFamily, "IPv4 and IPv6 by turns, either one first"},
			choice[AddressFamily]{"ipv4", IPv4First, "those of IPv4 first"},
			choice[AddressFamily]{"ipv6", IPv6First, "those of IPv6 first"},
		), func(f fields) *AddressFamily { return &f.config.Delivery.AddressFamily }, AnyFamily),
		effect: AtReload,
		text: "Which addresses of a server are tried first, if it has some of both families. The others are tried after them. Of one server in a domain's MX records five addresses are tried, " +
			"at least two of either family.",
		see: []string{"delivery.connect_timeout"},
	},
	{
		key:    "delivery.retry",
		value:  one(patient(schedule), func(f fields) *mail.Schedule { return &f.config.Delivery.Retry }, mail.DefaultSchedule),
		effect: AtReload,
		text: "When mail that failed for now is tried again: the waits after the first attempts, the wait that repeats after them, and the age at which the sender is " +
			"told that it could not be delivered. Each wait is prolonged by up to a tenth, at random, so that what failed together does not come back together. RFC 5321 4.5.4.1 asks for retries for at least 4 or 5 days.",
		see: []string{"delivery.retry_reports", "delivery.delay_warning"},
	},
	{
		key:    "delivery.retry_reports",
		value:  one(schedule, func(f fields) *mail.Schedule { return &f.config.Delivery.RetryReports }, reportSchedule),
		effect: AtReload,
		text:   "The same for mail from the null sender `<>`: reports of failed delivery, and other mail that nobody may answer.",
		see:    []string{"delivery.retry"},
	},
	{
		key:    "delivery.delay_warning",
		value:  one(duration(0, 30*day), func(f fields) *time.Duration { return &f.config.Delivery.DelayWarning }, 4*time.Hour),
		effect: AtReload,
		text: "The age from which mail that still waits is late: with the next attempt that fails for now, the sender is told so, once of each recipient, " +
			"unless it asked not to be (NOTIFY, RFC 3461 4.1). `\"0s\"` tells nobody.",
		see: []string{"delivery.retry"},
	},
	{
		key:    "delivery.copy_failures",
		value:  one(boolean, func(f fields) *bool { return &f.config.Delivery.CopyFailures }, false),
		effect: AtReload,
		text: "Send `postmaster` a copy of every report of failed delivery: who was told what, and the header of the message, not its text. " +
			"It shows early that a program sends to addresses that do not exist, but in a large installation it is much mail; the journal tells the same.",
		see: []string{"postmaster"},
	},
	{
		key:    "delivery.max_connections",
		value:  one(integer(1, 10_000), func(f fields) *int { return &f.config.Delivery.MaxConnections }, 500),
		effect: AtReload,
		text: "How many attempts may run at once, each on a connection of its own. A quarter of them is for sites that are known to answer within two seconds, " +
			"and while others wait, one site has a quarter at most.",
		see: []string{"delivery.max_connections_per_site"},
	},
	{
		key:    "delivery.max_connections_per_site",
		value:  one(integer(1, 10_000), func(f fields) *int { return &f.config.Delivery.MaxConnectionsPerSite }, 20),
		effect: AtReload,
		text:   "How many of these connections go to one site, that is to one list of servers. More is not always faster: many servers slow down or refuse a client with too many.",
		see:    []string{"delivery.max_connections"},
	},
	{
		key:    "delivery.max_recipients",
		value:  one(integer(1, 50_000), func(f fields) *int { return &f.config.Delivery.MaxRecipients }, 100),
		effect: AtReload,
		text: "How many recipients of a message are sent in one transaction. A message with more takes several. Every server takes 100 (RFC 5321 4.5.3.1.8); " +
			"one that takes fewer says so, and is heeded. A smarthost that takes more gets the content of a message for many recipients only once if this is as large.",
	},
	{
		key:    "delivery.idle_timeout",
		value:  one(duration(time.Second, 5*time.Minute), func(f fields) *time.Duration { return &f.config.Delivery.IdleTimeout }, 5*time.Second),
		effect: AtReload,
		text:   "How long a connection is kept for the next message when there is none.",
	},
	{
		key:    "delivery.connect_timeout",
		value:  one(connectTimeout, func(f fields) *time.Duration { return &f.config.Delivery.ConnectTimeout }, 30*time.Second),
		effect: AtReload,
		text:   "How long to wait for a connection to one address before the next is tried.",
	},
	{
		key:    "delivery.greeting_timeout",
		value:  one(greetingTimeout, func(f fields) *time.Duration { return &f.config.Delivery.GreetingTimeout }, 5*time.Minute),
		effect: AtReload,
		text:   "How long to wait for the greeting of a server that has taken the connection (RFC 5321 4.5.3.2.1).",
	},
	{
		key:    "delivery.command_timeout",
		value:  one(commandTimeout, func(f fields) *time.Duration { return &f.config.Delivery.CommandTimeout }, 5*time.Minute),
		effect: AtReload,
		text:   "How long to wait for the reply to EHLO, STARTTLS, AUTH, MAIL or RCPT (RFC 5321 4.5.3.2.2, 4.5.3.2.3).",
	},
	{
		key:    "delivery.data_timeout",
		value:  one(dataTimeout, func(f fields) *time.Duration { return &f.config.Delivery.DataTimeout }, 2*time.Minute),
		effect: AtReload,
		text:   "How long to wait for the reply to DATA (RFC 5321 4.5.3.2.4).",
	},
	{
		key:    "delivery.block_timeout",
		value:  one(blockTimeout, func(f fields) *time.Duration { return &f.config.Delivery.BlockTimeout }, 3*time.Minute),
		effect: AtReload,
		text: "How long a server may take to accept the next block of the message, 64 KiB (RFC 5321 4.5.3.2.5). A server that takes less than 500 octets a second for longer than this is given up, " +
			"too: without that it could hold a large message for days.",
	},
	{
		key:    "delivery.final_timeout",
		value:  one(finalTimeout, func(f fields) *time.Duration { return &f.config.Delivery.FinalTimeout }, 10*time.Minute),
		effect: AtReload,
		text: "How long to wait for the reply to the end of the message (RFC 5321 4.5.3.2.6). Giving up early is costly: the server may have taken the message, " +
			"and would get it a second time.",
	},

	{
		key:    "quarantine.keep",
		value:  one(forJudges(duration(0, 3650*day)), func(f fields) *time.Duration { return &f.config.Quarantine.Keep }, 30*day),
		effect: AtReload,
		text: "How long a recipient stays in quarantine. Whoever is there for longer is removed, a thousand messages at a time, and nobody is told; the journal has each. " +
			"`\"0s\"` keeps all, until the disk is full; then no more mail is taken.",
		see: []string{"quarantine.digest_to", "pressure.min_free_space"},
	},
	{
		key:       "quarantine.digest_to",
		value:     one(notExampleAddress(mailAddress), func(f fields) *mail.Address { return &f.config.Quarantine.DigestTo }, mail.Address{}),
		effect:    AtReload,
		byDefault: "none",
		example:   `"secops@example.com"`,
		text: "Who is told what came into quarantine, in one message each `digest_every`, and in none when nothing came. " +
			"It is a mailbox on another server: one at this host itself is refused. Without it nobody is told.",
		see: []string{"quarantine.digest_every"},
	},
	{
		key: "quarantine.digest_every",
		value: one(atLeast(duration(time.Second, 30*day), time.Hour, "nobody reads a message more often"),
			func(f fields) *time.Duration { return &f.config.Quarantine.DigestEvery }, day),
		effect: AtReload,
		text: "How often `digest_to` is told. The periods are counted from midnight, local time, and those of several days from a Monday: with `\"1d\"` the message comes soon after midnight, with `\"7d\"` on Mondays. " +
			"After a time in which the server was down there is one for all that was missed.",
		see: []string{"quarantine.digest_to"},
	},

	{
		key:       "dns.servers",
		value:     list(nameServer, func(f fields) *[]netip.AddrPort { return &f.config.DNS.Servers }),
		effect:    AtReload,
		byDefault: "those of `/etc/resolv.conf`, which is read again when it changes",
		example:   `["127.0.0.1", "192.0.2.53"]`,
		text: "The name servers, in the order in which they are asked: the next when one does not answer, or fails. They must be ones that look up every name (recursive). " +
			"At most eight are asked. A server on this host or nearby is best; a mail server asks much.",
		see: []string{"dns.timeout"},
	},
	{
		key:    "dns.timeout",
		value:  one(duration(time.Second, time.Minute), func(f fields) *time.Duration { return &f.config.DNS.Timeout }, 10*time.Second),
		effect: AtReload,
		text: "How long one question may take in all. Every server is asked twice within it, and has an equal share of the time. " +
			"Mail whose domain nobody can tell of by then waits for its next attempt.",
		see: []string{"dns.servers"},
	},

	{
		key:    "journal.max_file",
		value:  one(size(mib, 16*gib), func(f fields) *int64 { return &f.config.Journal.MaxFile }, 64*mib),
		effect: AtReload,
		text:   "The size at which a file of the journal is closed and the next begun.",
		see:    []string{"journal.keep"},
	},
	{
		key:    "journal.keep",
		value:  one(moreThanOne(integer(0, 1_000_000)), func(f fields) *int { return &f.config.Journal.Keep }, 0),
		effect: AtReload,
		text: "How many files are kept, the one being written included. When there are more, the oldest is deleted, and what it told of its messages is gone. " +
			"0 keeps all, until the disk is full; then no more mail is taken.",
		see: []string{"journal.max_file", "pressure.min_free_space"},
	},

	{
		key: "pressure.min_free_space",
		value: one(atLeast(size(MinFreeSpace, 1024*gib), 64*mib, "the queue needs that much to finish what it has; the server ends when the disk is full in the midst of its work"),
			func(f fields) *int64 { return &f.config.Pressure.MinFreeSpace }, 256*mib),
		effect: AtReload,
		text: "How much room must be free on the file systems of queue and journal. With less, every message is answered with 452 at MAIL; so is a message whose declared size (SIZE, RFC 1870) " +
			"would leave less. Mail is taken again when an eighth more is free. Free space is measured once a second, and not all clients declare a size: " +
			"leave room for several messages of the largest size. The queue needs the last 64 MiB to finish what it has; set less than that only where mail is not dear, " +
			"because the server ends when the disk is full in the midst of its work (what was acknowledged is safe).",
		see: []string{"pressure.min_free_inodes", "listener.max_size", "data_dir", "journal.keep"},
	},
	{
		key:    "pressure.min_free_inodes",
		value:  one(integer(0, 1_000_000_000), func(f fields) *int { return &f.config.Pressure.MinFreeInodes }, 10_000),
		effect: AtReload,
		text: "How many inodes, that is files that can still be made, must be free on these file systems. With fewer, every message is answered with 452. A message above 1 MiB takes one; " +
			"smaller ones share files. File systems that make inodes as they need them, such as Btrfs, always have enough. 0 watches none.",
		see: []string{"pressure.min_free_space"},
	},
	{
		key:       "pressure.max_memory",
		value:     one(size(256*mib, 16*1024*gib), func(f fields) *int64 { return &f.config.Pressure.MaxMemory }, 0),
		effect:    AtReload,
		byDefault: "half of the memory of the machine, or of what its control group allows; at least 256 MiB",
		example:   `"2GiB"`,
		text: "How much memory the server may have. It frees memory the more eagerly the nearer it comes to this, and when less than a quarter is left every message is answered with 452, until " +
			"the queue takes less. It is a budget, not a wall: a little more may be in use for moments. Above a limit that the system sets, the system will kill the server instead. " +
			"A million messages that wait, with one recipient each, take about 650 MB.",
		see: []string{"listener.max_connections"},
	},
	{
		key:    "pressure.slow_commit",
		value:  one(duration(time.Second, time.Minute), func(f fields) *time.Duration { return &f.config.Pressure.SlowCommit }, time.Second),
		effect: AtReload,
		text: "How long the disk may take to make mail durable, as a mean over some seconds, before fewer connections are served. The number of each listener is then halved " +
			"every second, down to a sixteenth of its `max_connections` but not below 10, and doubled again after every five seconds in which the disk takes less than half of this. " +
			"New clients get 421, and those that are connected get it when they begin the next message; no message under way is cut off.",
		see: []string{"listener.max_connections"},
	},

	{
		key:       "monitoring.address",
		value:     one(ownNetwork(maybeAddress(listenAddress)), func(f fields) *netip.AddrPort { return &f.config.Monitoring.Address }, netip.AddrPort{}),
		effect:    AtRestart,
		byDefault: "none",
		example:   `"127.0.0.1:9625"`,
		text: "The address and port at which metrics and health are told, by HTTP without TLS, to whoever asks. They tell how much mail there is and how the server is, and nothing of single messages, " +
			"addresses or hosts. Without an address nobody can ask.",
	},
	{
		key:       "admin.address",
		value:     one(maybeAddress(listenAddress), func(f fields) *netip.AddrPort { return &f.config.Admin.Address }, netip.AddrPort{}),
		effect:    AtRestart,
		byDefault: "none",
		example:   `"127.0.0.1:8025"`,
		text: "The address and port at which the administrative API is served too. Whoever has a token may do all that an operator can. " +
			"Any address but a loopback one needs TLS, because tokens would be sent in clear.",
		see: []string{"admin_socket", "admin.tokens"},
	},
	{
		key:       "admin.tokens",
		value:     secret(func(f fields) *Secret { return &f.config.Admin.Tokens }),
		effect:    AtRestart,
		byDefault: "none",
		example:   `"file:/etc/postern/admin.tokens"`,
		text: "Where the tokens are kept; see [Secrets](#secrets). Each line has a name, a space, and a token of at least 20 characters; the name stands in the journal for whoever uses the token. " +
			"`echo \"grafana $(openssl rand -hex 20)\"` makes a line.",
		see: []string{"admin.address"},
	},
	{
		key:       "admin.tls_certificate",
		value:     file(func(f fields) *string { return &f.config.Admin.TLSCertificate }),
		effect:    AtRestart,
		byDefault: "none",
		example:   `"/etc/postern/tls/fullchain.pem"`,
		text:      "A PEM file with the certificate of the API, followed by those of its issuers. Without it the API is served in clear, at a loopback address only.",
		see:       []string{"admin.tls_key"},
	},
	{
		key:       "admin.tls_key",
		value:     file(func(f fields) *string { return &f.config.Admin.TLSKey }),
		effect:    AtRestart,
		byDefault: "none",
		example:   `"/etc/postern/tls/key.pem"`,
		text:      "A PEM file with the private key of that certificate.",
		see:       []string{"admin.tls_certificate"},
	},
}

package config

import (
	"net/netip"

	"postern/internal/mail"
)

// classSettings are those of the priority of mail.
var classSettings = []setting{
	{
		key: "listener.class",
		value: one(oneOf(
			choice[mail.Class]{"bulk", mail.Bulk, "when there is nothing else to do, and a small part of the time in any case"},
			choice[mail.Class]{"normal", mail.Normal, "in its turn"},
			choice[mail.Class]{"urgent", mail.Urgent, "before all else"},
		), func(f fields) *mail.Class { return &f.listener.Class }, mail.Normal),
		effect: AtReload,
		text:   "The priority class of mail that comes by the listener, where neither policy, nor the user's record, nor the message itself says another: [priorities.md](priorities.md#which-class-a-message-has).",
		see:    []string{"message.class_from_header"},
	},
	{
		key:    "message.class_from_header",
		value:  one(boolean, func(f fields) *bool { return &f.config.Message.ClassFromHeader }, false),
		effect: AtReload,
		text: "Whether a message from a client that is known (in `trust`, authenticated, or a program of this host) may choose its priority class, by a header field: Priority, Precedence, X-Priority or Importance, in this order. " +
			"The class in a user's record goes before it. [priorities.md](priorities.md#the-header) has the words.",
		see: []string{"listener.class"},
	},
}

// companySettings are those of the companies that share the server, and of what
// transports show of it in their place.
var companySettings = []setting{
	{
		key:       "transport.hello",
		value:     one(hostname, func(f fields) *string { return &f.transport.Hello }, ""),
		effect:    AtReload,
		byDefault: "that of the sender's company, or `hostname`",
		example:   `"exit.example.com"`,
		text:      "The name in EHLO to servers of the transport, whoever sends.",
		see:       []string{"company.hostname"},
	},
	{
		key:       "transport.source_ipv4",
		value:     one(sourceIPv4, func(f fields) *netip.Addr { return &f.transport.SourceIPv4 }, netip.Addr{}),
		effect:    AtReload,
		byDefault: "that of the sender's company, or as the system chooses",
		example:   `"192.0.2.25"`,
		text: "The IPv4 address of this machine from which servers of the transport are connected to, whoever sends. Where this or `source_ipv6` is set, the addresses of companies do not count for the transport, " +
			"and with one alone, servers are reached over that family alone.",
		see: []string{"transport.source_ipv6", "company.source_ipv4"},
	},
	{
		key:       "transport.source_ipv6",
		value:     one(sourceIPv6, func(f fields) *netip.Addr { return &f.transport.SourceIPv6 }, netip.Addr{}),
		effect:    AtReload,
		byDefault: "that of the sender's company, or as the system chooses",
		example:   `"2001:db8::25"`,
		text:      "Likewise for IPv6.",
		see:       []string{"transport.source_ipv4", "company.source_ipv6"},
	},

	{
		key:      "company.name",
		value:    one(plainName, func(f fields) *string { return &f.company.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"acme"`,
		text:     "What the company is called in the journal and by `postern explain`.",
	},
	{
		key:      "company.domains",
		value:    list(domainOrBelow, func(f fields) *[]string { return &f.company.Domains }),
		effect:   AtReload,
		required: true,
		example:  `["acme.example", ".acme.example"]`,
		text: "The domains of its senders: mail is of the company when the sender of its envelope is in one of them. With a dot before it, all domains below are meant, and not the domain itself; the longest that fits counts. " +
			"What has no sender, such as a report, is of the company whose domain the recipient is in. A domain can be in one company only. There can be 10,000.",
	},
	{
		key:       "company.hostname",
		value:     one(hostname, func(f fields) *string { return &f.company.Hostname }, ""),
		effect:    AtReload,
		byDefault: "`hostname`",
		example:   `"mail.acme.example"`,
		text: "The name of this server in mail of the company: in EHLO to the next servers, in the Received field and the Message-ID that are added, and in reports to its senders. DNS should know it, as it should `hostname`. " +
			"It is a name of this host, like `hostname`.",
		see: []string{"transport.hello", "hostname"},
	},
	{
		key:       "company.source_ipv4",
		value:     one(sourceIPv4, func(f fields) *netip.Addr { return &f.company.SourceIPv4 }, netip.Addr{}),
		effect:    AtReload,
		byDefault: "as the system chooses",
		example:   `"192.0.2.25"`,
		text: "The IPv4 address of this machine from which mail of the company leaves. Where only one of `source_ipv4` and `source_ipv6` is set, servers get the company's mail over that family alone, so that none leaves from an address of which its SPF record does not know. " +
			"While the machine does not have the address, the mail waits.",
		see: []string{"company.source_ipv6", "transport.source_ipv4"},
	},
	{
		key:       "company.source_ipv6",
		value:     one(sourceIPv6, func(f fields) *netip.Addr { return &f.company.SourceIPv6 }, netip.Addr{}),
		effect:    AtReload,
		byDefault: "as the system chooses",
		example:   `"2001:db8::25"`,
		text:      "Likewise for IPv6.",
		see:       []string{"company.source_ipv4", "transport.source_ipv6"},
	},
	{
		key:       "company.certificate",
		value:     one(plainName, func(f fields) *string { return &f.company.Certificate }, ""),
		effect:    AtReload,
		byDefault: "none",
		example:   `"acme-client"`,
		text: "The certificate that is shown, for mail of the company, to the next servers that ask for one, by its name: that of a `[[certificate]]` table, or one that `postern cert list` shows. " +
			"A transport with `tls_certificate` shows that one, whoever sends.",
		see: []string{"transport.tls_certificate", "certificate.name"},
	},
	{
		key:       "company.postmaster",
		value:     one(mailAddress, func(f fields) *mail.Address { return &f.company.Postmaster }, mail.Address{}),
		effect:    AtReload,
		byDefault: "`postmaster`",
		example:   `"postmaster@acme.example"`,
		text: "Who gets the mail for postmaster at the company's domains and its `hostname`, which is always accepted (RFC 5321 4.5.1), and with `delivery.copy_failures` the copies of reports to its senders. " +
			"It must be at another server.",
		see: []string{"postmaster", "delivery.copy_failures"},
	},
	{
		key:       "company.near",
		value:     passages("domains", func(f fields) *[]Text { return &f.company.Near }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["partner.example", "list:partners"]`,
		text:      "Domains that are near for mail of the company as well as those of `routing.near`, written likewise: with a firewall its mail for them goes directly all the same.",
		see:       []string{"routing.near", "routing.firewall"},
	},
}

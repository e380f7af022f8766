package config

// transportWaySettings are those of where the servers of a transport are.
var transportWaySettings = []setting{
	{
		key:       "transport.port",
		value:     one(integer(1, 65535), func(f fields) *int { return &f.transport.Port }, 0),
		effect:    AtReload,
		byDefault: "`delivery.port` for the kind `mx`, else 25",
		example:   "587",
		text:      "The port of its servers; of those in `hosts` that name none.",
		see:       []string{"transport.hosts"},
	},
	{
		key:    "transport.lookup_mx",
		value:  one(boolean, func(f fields) *bool { return &f.transport.LookupMX }, false),
		effect: AtReload,
		text: "Whether the names in `hosts` are those of domains, whose servers are found by their MX records, as those of a recipient's domain are. One without such records is a server itself. " +
			"Aliases (CNAME) are followed.",
		see: []string{"routing.mailhub"},
	},
	{
		key: "transport.balance",
		value: one(oneOf(
			choice[Balance]{"order", BalanceOrder, "as they are listed: the next one is for when those before it cannot be used"},
			choice[Balance]{"random", BalanceRandom, "in random order, anew for each message, so that each has its share"},
		), func(f fields) *Balance { return &f.transport.Balance }, BalanceOrder),
		effect: AtReload,
		text:   "In which order the servers in `hosts` are tried.",
	},
}

// routeSettings are those of what chooses among the transports.
var routeSettings = []setting{
	{
		key:      "route.name",
		value:    one(ruleName, func(f fields) *string { return &f.route.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"to-partners"`,
		text:     "What the route is called by `explain` and in the log.",
	},
	{
		key:       "route.recipients",
		value:     passages("patterns", func(f fields) *[]Text { return &f.route.Recipients }),
		effect:    AtReload,
		byDefault: "all",
		example:   `["*@partner.example", "list:partners"]`,
		text: "The recipients it is for: patterns in which `*` is any characters or none, " +
			"and lists of `addresses`, `domains` or `patterns` as `\"list:NAME\"`.",
		see: []string{"route.senders", "route.map"},
	},
	{
		key:       "route.senders",
		value:     passages("patterns", func(f fields) *[]Text { return &f.route.Senders }),
		effect:    AtReload,
		byDefault: "all",
		example:   `["*@us.example.com"]`,
		text:      "The senders it is for, in the same way. The null sender, which reports have, is `<>`.",
	},
	{
		key:       "route.accounts",
		value:     passages("patterns", func(f fields) *[]Text { return &f.route.Accounts }),
		effect:    AtReload,
		byDefault: "all, and nobody",
		example:   `["billing", "app-*"]`,
		text:      "The accounts whose mail it is for, by their names, with `*` as above. What comes from a client without an account goes by no route that has this.",
	},
	{
		key:       "route.listeners",
		value:     passages("names", func(f fields) *[]Text { return &f.route.Listeners }),
		effect:    AtReload,
		byDefault: "all",
		example:   `["batch"]`,
		text:      "The listeners whose mail it is for, by name. `sendmail` is what programs of this host send.",
		see:       []string{"listener.name"},
	},
	{
		key:       "route.tags",
		value:     passages("words", func(f fields) *[]Text { return &f.route.Tags }),
		effect:    AtReload,
		byDefault: "any, and none",
		example:   `["bulk"]`,
		text:      "Words of which the mail must carry one, as the step `tag` of a handler gives them.",
	},
	{
		key:    "route.only_unknown",
		value:  one(boolean, func(f fields) *bool { return &f.route.OnlyUnknown }, false),
		effect: AtReload,
		text: "Whether it takes only addresses of local domains that are nobody's here, so that a domain is split between this server and another: they are accepted instead of being refused with 550 5.1.1. " +
			"A route without it that fits an address of a local domain takes it from those who have it here. " +
			"Such routes are asked behind all others, wherever they stand: an address that another one takes goes the same way whether it is somebody's here or not.",
	},
	{
		key:       "route.transport",
		value:     onePassage("name", func(f fields) *Text { return &f.route.Transport }),
		effect:    AtReload,
		byDefault: "the lines of `map`",
		example:   `"partners"`,
		text: "The transport by which the mail goes: the name of a table `[[transport]]`, or `mx`, directly to the servers of the recipient's domain, " +
			"or `smarthost`, to those of `delivery.smarthosts`.",
		see: []string{"transport.name", "route.map"},
	},
	{
		key:       "route.map",
		value:     file(func(f fields) *string { return &f.route.Map }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"transport.map"`,
		text: "A file of up to 100,000 lines, each with a recipient, a domain or, with a dot before it, all below a domain, and the way: a transport, or a server as `host:port`. " +
			"The route is for the recipients that are in it. It is read again when it changes; a file that is wrong is told of, and what it said before stays in force. [routing.md](routing.md#maps) has the form.",
		see: []string{"route.transport"},
	},
	{
		key:       "route.otherwise",
		value:     passages("names", func(f fields) *[]Text { return &f.route.Otherwise }),
		effect:    AtReload,
		byDefault: "none: the mail waits",
		example:   `["backup"]`,
		text:      "Transports whose servers come behind, in this order, when none of those before has an address or can be reached.",
		see:       []string{"route.never_bypass"},
	},
	{
		key:    "route.never_bypass",
		value:  one(boolean, func(f fields) *bool { return &f.route.NeverBypass }, false),
		effect: AtReload,
		text: "Whether mail that it fits goes this way and no other, whatever fails: no handler with `route_via`, no route of a user and no `postern queue reroute` takes it elsewhere, " +
			"and routes after it are not asked. It waits until the transport has it.",
		see: []string{"route.otherwise"},
	},
	{
		key:       "routing.mailhub",
		value:     onePassage("name", func(f fields) *Text { return &f.config.Routing.Mailhub }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"hub"`,
		text: "The transport of all mail that is neither for this host nor for a route: a forwarding mail hub. It is never gone round. `delivery.smarthosts` is a short form of it, and both cannot be set. " +
			"With `lookup_mx` of the transport, its servers are found as those of a domain are.",
		see: []string{"transport.lookup_mx", "delivery.smarthosts"},
	},
	{
		key:       "routing.router",
		value:     onePassage("name", func(f fields) *Text { return &f.config.Routing.Router }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"gateway"`,
		text: "The transport of mail whose domain does not resolve: DNS must be certain that it does not exist, or that none of its servers has an address. While DNS does not answer, mail waits. " +
			"With `firewall` it gets other mail, too.",
		see: []string{"routing.firewall"},
	},
	{
		key:    "routing.firewall",
		value:  one(boolean, func(f fields) *bool { return &f.config.Routing.Firewall }, false),
		effect: AtReload,
		text:   "Whether `router` is the way through a firewall: it gets all mail but that for the domains in `near`, and DNS is not asked about these domains. When it cannot be reached, mail waits.",
		see:    []string{"routing.router", "routing.near"},
	},
	{
		key:       "routing.near",
		value:     passages("domains", func(f fields) *[]Text { return &f.config.Routing.Near }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["example.com", ".example.com", "list:inside"]`,
		text: "The domains to which mail goes directly although there is a firewall: `example.com` is that domain, `.example.com` all below it, and `\"list:NAME\"` those of a list of `domains`. " +
			"One that does not resolve goes to `router` after all; where that must not be, write a route with `transport = \"mx\"` and `never_bypass`.",
		see: []string{"routing.firewall"},
	},
	{
		key:       "routing.hosts_file",
		value:     file(func(f fields) *string { return &f.config.Routing.HostsFile }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"hosts"`,
		text:      "A table of hosts, in the form of `/etc/hosts`: an address and its names on each line. Its names are not looked up in DNS when mail goes out, be they those of smarthosts, of MX records or of domains. It is read again when it changes; while a line of it is wrong, all stays as it was.",
	},
}

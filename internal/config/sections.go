package config

// sections are the tables of the file, in the order of the reference.
var sections = []section{
	{
		text: "These stand at the top of the file, before the first table.",
	},
	{
		name: "log",
		text: "What the server writes about its work, one event a line, on standard error. Where the journal of systemd reads that, a line begins with its priority, and has neither time nor level, which the journal knows. What became of each message is in the journal, not here.",
	},
	{
		name:     "listener",
		required: true,
		tables: tablesOf[Listener]{
			all:   func(c *Config) *[]Listener { return &c.Listeners },
			in:    func(f *fields) **Listener { return &f.listener },
			about: func(t *Listener) about { return about{t.Name, &t.Placed} },
		},
		text: "An address at which mail is taken by SMTP. Write one `[[listener]]` table for each; there must be at least one. " +
			"Every limit is counted for each listener apart.",
	},
	{
		name: "handler",
		tables: tablesOf[Handler]{
			all:   func(c *Config) *[]Handler { return &c.Handlers },
			in:    func(f *fields) **Handler { return &f.handler },
			about: func(t *Handler) about { return about{t.Title(), &t.Placed} },
		},
		text: "A rule of policy: what is done about a client, or a message, at a command of SMTP. [policy.md](policy.md) tells how one handler is chosen of many, what each step does, " +
			"and what conditions can ask. Write one `[[handler]]` table for each.",
	},
	{
		name: "list",
		tables: tablesOf[List]{
			all:   func(c *Config) *[]List { return &c.Lists },
			in:    func(f *fields) **List { return &f.list },
			about: func(t *List) about { return about{t.Name, &t.Placed} },
		},
		most: 100, // each file is looked at every few seconds
		text: "A list of networks, domains, addresses or patterns, in a file of its own, one a line, or in the directory, which handlers and other settings ask by its name. " +
			"What changes is in force at once. [lists.md](lists.md) tells what can stand in it.",
	},
	{
		name: "block_list",
		tables: tablesOf[BlockList]{
			all:   func(c *Config) *[]BlockList { return &c.BlockLists },
			in:    func(f *fields) **BlockList { return &f.blockList },
			about: func(t *BlockList) about { return about{t.Title(), &t.Placed} },
		},
		most: 20, // each is a question for every client
		text: "A block list in DNS (DNSBL, RFC 5782) that is asked about clients or domains. All are asked at the same time, and those that fail or lie count for nothing: [lists.md](lists.md#block-lists). " +
			"`postern check --dns` asks whether each works.",
	},
	{
		name: "filter",
		tables: tablesOf[Filter]{
			all:   func(c *Config) *[]Filter { return &c.Filters },
			in:    func(f *fields) **Filter { return &f.filter },
			about: func(t *Filter) about { return about{t.Name, &t.Placed} },
		},
		most: 200, // each is asked of every message
		text: "What is kept back of mail because of who has sent it, its subject, its attachments or its types. [policy.md](policy.md#filters) tells how filters are asked, and [mime.md](mime.md) what they are compared with.",
	},
	{
		name: "rate",
		tables: tablesOf[Rate]{
			all:   func(c *Config) *[]Rate { return &c.Rates },
			in:    func(f *fields) **Rate { return &f.rate },
			about: func(t *Rate) about { return about{t.Name, &t.Placed} },
		},
		most: 100, // each is asked of every message
		text: "How much may come in which time, of whom. [lists.md](lists.md#rates) tells how it is counted. All of them are counted.",
	},
	{
		name: "ldap",
		tables: tablesOf[LDAP]{
			all:   func(c *Config) *[]LDAP { return &c.LDAP },
			in:    func(f *fields) **LDAP { return &f.ldap },
			about: func(t *LDAP) about { return about{t.Name, &t.Placed} },
		},
		most: 10, // each may be asked, one after the other
		text: "A directory that is asked by LDAP, such as Active Directory: for passwords, and for the addresses, groups and certificates of its users. " +
			"[ldap.md](ldap.md) tells how, with examples; `postern ldap test` shows what is found.",
	},
	{
		name: "certificate",
		tables: tablesOf[Certificate]{
			all:   func(c *Config) *[]Certificate { return &c.Certificates },
			in:    func(f *fields) **Certificate { return &f.certificate },
			about: func(t *Certificate) about { return about{t.Name, &t.Placed} },
		},
		most: 100, // each file is looked at every few seconds
		text: "A certificate for listeners, from files or by ACME. [certificates.md](certificates.md) tells of these, and of those that `postern cert` makes, which need no table.",
	},
	{
		name: "acme",
		text: "The authority from which certificates with `acme = true` are had, by ACME (RFC 8555). Account and keys are kept in `acme` below `data_dir`.",
	},
	{
		name: "auth",
		text: "What is done about those who guess passwords, at all listeners together. [authentication.md](authentication.md#guessing) tells how it works, and who is kept out by it and who is not.",
	},
	{
		name: "oidc",
		tables: tablesOf[OIDC]{
			all:   func(c *Config) *[]OIDC { return &c.OIDC },
			in:    func(f *fields) **OIDC { return &f.oidc },
			about: func(t *OIDC) about { return about{t.Name, &t.Placed} },
		},
		most: 20,
		text: "An issuer of tokens (OpenID Connect) by which users show who they are, with the mechanisms OAUTHBEARER and XOAUTH2. [oidc.md](oidc.md) tells what is asked of a token, and how it is set up with known issuers. " +
			"`postern oidc test` tries a token.",
	},
	{
		name: "http_auth",
		tables: tablesOf[HTTPAuth]{
			all:   func(c *Config) *[]HTTPAuth { return &c.HTTPAuth },
			in:    func(f *fields) **HTTPAuth { return &f.httpAuth },
			about: func(t *HTTPAuth) about { return about{t.Name, &t.Placed} },
		},
		most: 20,
		text: "A service of your own that is asked over HTTP whether a user and a password belong together. [http-auth.md](http-auth.md) tells what it is asked, and how it must answer.",
	},
	{
		name: "transport",
		tables: tablesOf[Transport]{
			all:   func(c *Config) *[]Transport { return &c.Transports },
			in:    func(f *fields) **Transport { return &f.transport },
			about: func(t *Transport) about { return about{t.Name, &t.Placed} },
		},
		most: 1000,
		text: "A way by which mail leaves: which servers it goes to, and how. Routes and handlers name it.",
	},
	{
		name: "tls",
		tables: tablesOf[TLSDomains]{
			all:   func(c *Config) *[]TLSDomains { return &c.TLSDomains },
			in:    func(f *fields) **TLSDomains { return &f.tls },
			about: func(t *TLSDomains) about { return about{t.Title(), &t.Placed} },
		},
		most: 1000, // all are gone through at each attempt
		text: "What TLS mail for some domains demands of the servers to which it goes, beyond what the transport does: [tls-out.md](tls-out.md#domains).",
	},
	{
		name: "target",
		tables: tablesOf[Target]{
			all:   func(c *Config) *[]Target { return &c.Targets },
			in:    func(f *fields) **Target { return &f.target },
			about: func(t *Target) about { return about{t.Title(), &t.Placed} },
		},
		most: 1000,
		text: "A target server of a pool, or as many as its name has addresses. [targets.md](targets.md) tells how mail is given to them, and what is known of each.",
	},
	{
		name: "route",
		tables: tablesOf[Route]{
			all:   func(c *Config) *[]Route { return &c.Routes },
			in:    func(f *fields) **Route { return &f.route },
			about: func(t *Route) about { return about{t.Name, &t.Placed} },
		},
		most: 1000, // each is asked of every recipient
		text: "What mail goes by which transport. The routes are asked in their order, before all else that decides where mail goes, and the first that fits is taken: all conditions that it has must hold. " +
			"[routing.md](routing.md) tells what comes after them, with examples; `postern explain route` which one is taken for an address, and why.",
	},
	{
		name: "routing",
		text: "Where mail goes for which there is no route: [routing.md](routing.md#the-order) has the whole order.",
	},
	{
		name: "company",
		tables: tablesOf[Company]{
			all:   func(c *Config) *[]Company { return &c.Companies },
			in:    func(f *fields) **Company { return &f.company },
			about: func(t *Company) about { return about{t.Name, &t.Placed} },
		},
		most: 1000,
		text: "One of several companies that share the server: under which name and from which addresses the mail of its senders leaves, and who its postmaster is. [companies.md](companies.md) tells how.",
	},
	{
		name: "credentials",
		text: "Where the keys are under which the secrets are sealed with which this server authenticates itself to others: [credentials.md](credentials.md). The credentials themselves are in the directory (`postern credential`).",
	},
	{
		name: "dkim",
		text: "How mail is signed that leaves (DKIM, RFC 6376): [dkim.md](dkim.md). The keys are made by `postern dkim`, and lie in `dkim` below `data_dir`.",
	},
	{
		name: "submission",
		text: "Mail from programs on this host, by the command `postern sendmail` (as `/usr/sbin/sendmail`, too). [sendmail.md](sendmail.md) tells how it works, and what it does for whom.",
	},
	{
		name: "message",
		text: "What is done to the header of a message when it is taken in. Beside that, steps of [policy](policy.md#steps) change it, it is [signed](dkim.md), and on its way out 8-bit content is encoded for a server that would not take it.",
	},
	{
		name: "delivery",
		text: "How mail goes out, when neither a `[[route]]` nor `[routing]` says otherwise: to the smarthosts if there are any, else directly to the servers that each recipient's domain names in DNS (its MX records). " +
			"Its limits and times are those of every transport that has none of its own.",
	},
	{
		name: "quarantine",
		text: "Mail that is kept apart until a person has judged it ([quarantine.md](quarantine.md)): how long, and who is told.",
	},
	{
		name: "dns",
		text: "Which name servers are asked. What the machine's `/etc/hosts` says of the address of a name goes before what they say.",
	},
	{
		name: "journal",
		text: "The record of what happened to every message: one fact a line, as JSON, in files below `data_dir`.",
	},
	{
		name: "pressure",
		text: "When the server takes less mail, or none, because something runs short. Clients are told to come back later (452 or 421), before they have sent the message; " +
			"mail in the queue goes out all the while. `postern status` shows what is short, and log and journal tell when it began and ended.",
	},
	{
		name: "monitoring",
		text: "Where those who watch the server ask it, by HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for what starts it again or sends it clients.",
	},
	{
		name: "admin",
		text: "The administrative API ([admin.md](admin.md)) at a TCP address, for programs on other hosts. Without this table it is at `admin_socket` alone.",
	},
}

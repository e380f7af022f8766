package config

import (
	"time"

	"postern/internal/mail"
)

// bySchema is the default of what each schema has another for.
const bySchema = "that of `schema`"

// ldapSettings are those of the tables [[ldap]].
var ldapSettings = []setting{
	{
		key:      "ldap.name",
		value:    one(plainName, func(f fields) *string { return &f.ldap.Name }, ""),
		effect:   AtReload,
		required: true,
		example:  `"corp"`,
		text:     "What the directory is called: in `auth_sources`, in the journal as the source of a user, and in `postern ldap test`. `directory` is this host's own.",
		see:      []string{"ldap.servers"},
	},
	{
		key:      "ldap.servers",
		value:    list(ldapServer, func(f fields) *[]mail.HostPort { return &f.ldap.Servers }),
		effect:   AtReload,
		required: true,
		example:  `["dc1.example.com", "dc2.example.com"]`,
		text: "The servers of the directory, all with the same entries. The first that works is asked; the next only while those before it fail. A server that fails is left alone for a second, " +
			"then, as long as it does, for twice as long, up to a minute. Without a port it is 389, or 636 with `tls = \"ldaps\"`. For Active Directory with several domains, name servers of the global catalogue, at port 3269.",
		see: []string{"ldap.tls", "ldap.timeout"},
	},
	{
		key: "ldap.tls",
		value: one(oneOf(
			choice[LDAPTLS]{"starttls", LDAPStartTLS, "TLS begins by StartTLS (RFC 4511 4.14), or nothing is said"},
			choice[LDAPTLS]{"ldaps", LDAPS, "TLS begins with the first octet"},
			choice[LDAPTLS]{"none", LDAPClear, "in clear, which is taken for servers on this host alone"},
			choice[LDAPTLS]{"unsafe_none", LDAPUnsafe, "in clear to anywhere: everybody on the way can read every password"},
		), func(f fields) *LDAPTLS { return &f.ldap.TLS }, LDAPStartTLS),
		effect: AtReload,
		text:   "How connections are kept secret. With TLS the certificate must be for the server as `servers` names it, and by one of `authorities`; TLS 1.2 is the oldest version.",
		see:    []string{"ldap.authorities", "ldap.servers"},
	},
	{
		key:       "ldap.authorities",
		value:     file(func(f fields) *string { return &f.ldap.Authorities }),
		effect:    AtReload,
		byDefault: "those that the system trusts",
		example:   `"/etc/postern/tls/corp-ca.pem"`,
		text:      "A PEM file with the authorities whose certificates the servers may have; none but these then. The file is read at the start and at a reload.",
		see:       []string{"ldap.tls"},
	},
	{
		key:       "ldap.bind_dn",
		value:     one(ldapText("name", `write the name of an entry, or for Active Directory user@domain`), func(f fields) *string { return &f.ldap.BindDN }, ""),
		effect:    AtReload,
		byDefault: "none: the directory is asked by nobody in particular (an anonymous bind)",
		example:   `"cn=postern,ou=services,dc=example,dc=com"`,
		text:      "As whom the directory is searched: an account of its own, which may read what the other settings name and nothing else. It needs no right to read passwords.",
		see:       []string{"ldap.bind_password"},
	},
	{
		key:       "ldap.bind_password",
		value:     secret(func(f fields) *Secret { return &f.ldap.BindPassword }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"credential:ldap"`,
		text:      "Where the password for `bind_dn` is kept; see [Secrets](#secrets).",
		see:       []string{"ldap.bind_dn"},
	},
	{
		key:      "ldap.base",
		value:    one(ldapDN, func(f fields) *string { return &f.ldap.Base }, ""),
		effect:   AtReload,
		required: true,
		example:  `"dc=example,dc=com"`,
		text:     "The entry below which users are searched, at any depth. Referrals to other servers are not followed.",
		see:      []string{"ldap.group_base", "ldap.user_filter"},
	},
	{
		key: "ldap.schema",
		value: one(oneOf(
			choice[LDAPSchema]{"rfc2307", LDAPRFC2307, "as OpenLDAP, 389 Directory Server and FreeIPA usually have it: `uid`, `mail`, `posixGroup`, `groupOfNames`"},
			choice[LDAPSchema]{"active_directory", LDAPActiveDirectory, "Active Directory, and Samba: `sAMAccountName`, `userPrincipalName`, `proxyAddresses`, `memberOf`"},
		), func(f fields) *LDAPSchema { return &f.ldap.Schema }, LDAPRFC2307),
		effect: AtReload,
		text: "How the directory names things. It gives other settings their defaults ([ldap.md](ldap.md#schemas) lists them), and says how an account that is disabled or has expired is known: " +
			"by `shadowExpire`, `nsAccountLock` and `pwdAccountLockedTime`; or by `userAccountControl` and `accountExpires`.",
		see: []string{"ldap.user_filter", "ldap.address_attributes", "ldap.group_filter"},
	},
	{
		key:       "ldap.user_filter",
		value:     one(ldapFilter, func(f fields) *string { return &f.ldap.UserFilter }, ""),
		effect:    AtReload,
		byDefault: bySchema,
		example:   `"(&(objectClass=inetOrgPerson)(|(uid={login})(mail={login})))"`,
		text: "The filter (RFC 4515) that finds the one entry of a user who logs in. `{login}` is the name that the client has said, with all that could mean something in a filter escaped. " +
			"A filter that finds two entries lets neither in.",
		see: []string{"ldap.base", "ldap.login_attribute"},
	},
	{
		key:       "ldap.login_attribute",
		value:     one(ldapAttribute, func(f fields) *string { return &f.ldap.LoginAttribute }, ""),
		effect:    AtReload,
		byDefault: bySchema,
		example:   `"uid"`,
		text:      "The attribute with the name by which the user is known from then on, in the journal and in policy, however it was written by the client. It is also what `{login}` is in `group_filter`.",
		see:       []string{"ldap.user_filter", "ldap.group_filter"},
	},
	{
		key:       "ldap.address_filter",
		value:     one(ldapFilter, func(f fields) *string { return &f.ldap.AddressFilter }, ""),
		effect:    AtReload,
		byDefault: "one that asks for each of `address_attributes`",
		example:   `"(&(objectClass=inetOrgPerson)(mail={address}))"`,
		text:      "The filter that finds whose a mail address is, for recipients. `{address}` is the whole address, `{local}` and `{domain}` are its parts.",
		see:       []string{"ldap.address_attributes", "ldap.user_filter"},
	},
	{
		key:       "ldap.address_attributes",
		value:     list(ldapAttribute, func(f fields) *[]string { return &f.ldap.AddressAttributes }),
		effect:    AtReload,
		byDefault: bySchema,
		example:   `["mail", "mailAlternateAddress"]`,
		text:      "The attributes with the addresses that a user may send as, the first with that of the user. Of `proxyAddresses`, only values that begin with `smtp:` are addresses, and the one with `SMTP:` in capitals goes first.",
		see:       []string{"ldap.address_filter"},
	},
	{
		key:       "ldap.forward_attributes",
		value:     list(ldapAttribute, func(f fields) *[]string { return &f.ldap.ForwardAttributes }),
		effect:    AtReload,
		byDefault: "none: mail stays with the address that it was sent to",
		example:   `["mailRoutingAddress"]`,
		text:      "Attributes with addresses to which mail for the entry is to go instead, such as those of a `nisMailAlias` (`rfc822MailMember`).",
		see:       []string{"ldap.address_filter"},
	},
	{
		key:       "ldap.group_base",
		value:     one(ldapDN, func(f fields) *string { return &f.ldap.GroupBase }, ""),
		effect:    AtReload,
		byDefault: "that of `base`",
		example:   `"ou=groups,dc=example,dc=com"`,
		text:      "The entry below which `group_filter` searches.",
		see:       []string{"ldap.group_filter", "ldap.base"},
	},
	{
		key:       "ldap.group_filter",
		value:     one(ldapFilter, func(f fields) *string { return &f.ldap.GroupFilter }, ""),
		effect:    AtReload,
		byDefault: bySchema,
		example:   `"(&(objectClass=groupOfNames)(member={dn}))"`,
		text: "The filter that finds the groups of a user: `{dn}` is the name of the user's entry, `{login}` the value of its `login_attribute`. A group is called by its `cn`. " +
			"At most 1,000 groups of a user are looked at.",
		see: []string{"ldap.group_attribute", "ldap.group_depth"},
	},
	{
		key:       "ldap.group_attribute",
		value:     one(ldapAttribute, func(f fields) *string { return &f.ldap.GroupAttribute }, ""),
		effect:    AtReload,
		byDefault: bySchema,
		example:   `"memberOf"`,
		text:      "An attribute of the user's entry with the names of the entries of its groups. It costs no further search; both this and `group_filter` count.",
		see:       []string{"ldap.group_filter"},
	},
	{
		key:    "ldap.group_depth",
		value:  one(integer(1, 10), func(f fields) *int { return &f.ldap.GroupDepth }, 1),
		effect: AtReload,
		text:   "How deep groups are within groups: `1` counts the groups that the user is in itself, `2` also those that these are in. Each step more is a search for each group.",
		see:    []string{"ldap.group_filter", "ldap.group_attribute"},
	},
	{
		key:       "ldap.certificate_attribute",
		value:     one(ldapAttribute, func(f fields) *string { return &f.ldap.CertificateAttribute }, ""),
		effect:    AtReload,
		byDefault: "none: no user is known by a certificate",
		example:   `"userCertificate;binary"`,
		text: "The attribute with the certificates of a user. A client that shows a certificate is the user whose entry has an address of the certificate, and the certificate itself: " +
			"one that only names an address proves nothing.",
		see: []string{"ldap.address_filter"},
	},
	{
		key:    "ldap.recipients",
		value:  one(boolean, func(f fields) *bool { return &f.ldap.Recipients }, true),
		effect: AtReload,
		text: "Whether the directory is asked for whom mail to local domains is, after this host's own directory. While it does not answer, mail to addresses that only it could know is told to come back (451). " +
			"`false` leaves it to passwords and certificates.",
		see: []string{"ldap.address_filter", "ldap.list_posters"},
	},
	{
		key: "ldap.list_posters",
		value: one(oneOf(
			choice[ListPosters]{"accounts", PostersAccounts, "who has authenticated, and users of this host"},
			choice[ListPosters]{"members", PostersMembers, "who is in the group"},
			choice[ListPosters]{"everybody", PostersEverybody, "everybody who can send mail to this host"},
		), func(f fields) *ListPosters { return &f.ldap.ListPosters }, PostersAccounts),
		effect: AtReload,
		text:   "Whose mail to a group that has a mail address goes to its members. A group is a list, of at most 10,000 members; `managedBy` or `owner` of its entry gets what comes back.",
		see:    []string{"ldap.address_filter", "ldap.group_filter"},
	},
	{
		key:       "ldap.submit_groups",
		value:     list(ldapGroup, func(f fields) *[]string { return &f.ldap.SubmitGroups }),
		effect:    AtReload,
		byDefault: "every user may",
		example:   `["mail-users"]`,
		text:      "The groups whose users may send mail to addresses of this host.",
		see:       []string{"ldap.relay_groups", "ldap.group_filter"},
	},
	{
		key:       "ldap.relay_groups",
		value:     list(ldapGroup, func(f fields) *[]string { return &f.ldap.RelayGroups }),
		effect:    AtReload,
		byDefault: "every user may",
		example:   `["mail-relay"]`,
		text:      "The groups whose users may send mail to anywhere.",
		see:       []string{"ldap.submit_groups", "ldap.group_filter"},
	},
	{
		key:    "ldap.timeout",
		value:  one(duration(time.Second, time.Minute), func(f fields) *time.Duration { return &f.ldap.Timeout }, 5*time.Second),
		effect: AtReload,
		text: "How long a server may take to be connected to, and for each answer. A question takes at most three times as long, whatever the servers do; then it has failed for the moment, " +
			"and the client is told to come back (454 or 451).",
		see: []string{"ldap.servers"},
	},
	{
		key:    "ldap.max_connections",
		value:  one(integer(1, 100), func(f fields) *int { return &f.ldap.MaxConnections }, 8),
		effect: AtReload,
		text:   "How many connections there may be to a server: so many for searches, and as many for passwords. Those who find none free wait their turn. What is not used for a minute is closed.",
		see:    []string{"ldap.timeout"},
	},
	{
		key:    "ldap.cache_time",
		value:  one(duration(0, day), func(f fields) *time.Duration { return &f.ldap.CacheTime }, 5*time.Minute),
		effect: AtReload,
		text: "How long what the directory said of a user or an address is remembered; that there is none, for a tenth of it. Passwords are never remembered here: each is tried at the directory. At most 100,000 names " +
			"of users and groups, and as many addresses, are kept. `0s` remembers nothing.",
		see: []string{"ldap.timeout"},
	},
}

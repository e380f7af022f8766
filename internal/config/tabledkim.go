package config

import "time"

// dkimSettings are those of the signatures of mail that leaves.
var dkimSettings = []setting{
	{
		key: "listener.sign",
		value: one(oneOf(
			choice[Sign]{"clients", SignClients, "of those who are trusted, have an account, or may relay to everybody because `relay` says so"},
			choice[Sign]{"everybody", SignEverybody, "of all; for a listener that only your own programs reach"},
			choice[Sign]{"nobody", SignNobody, "of nobody"},
		), func(f fields) *Sign { return &f.listener.Sign }, SignClients),
		effect: AtReload,
		text: "Whose mail is signed (DKIM), when there is a key for it: [dkim.md](dkim.md#whose-mail-is-signed). Mail of strangers is not, although it may be sent on by an alias or a list: " +
			"they would be given a signature for whatever address they put into From.",
		see: []string{"dkim.sign"},
	},

	{
		key:       "dkim.sign",
		value:     list(domain, func(f fields) *[]string { return &f.config.DKIM.Sign }),
		effect:    AtReload,
		byDefault: "all that have a key",
		example:   `["example.com", "example.org"]`,
		text: "The domains whose mail is signed. Named here, a domain must be signed for: as long as no key of it is active, its mail is deferred (451 4.7.5). " +
			"Without it, each domain is signed for that has an active key. `postern dkim key add` makes one.",
		see: []string{"listener.sign", "dkim.subdomains"},
	},
	{
		key:    "dkim.subdomains",
		value:  one(boolean, func(f fields) *bool { return &f.config.DKIM.Subdomain }, true),
		effect: AtReload,
		text:   "Whether mail of a domain without a key is signed by the domain above it: of `news.example.com` by `example.com`. DMARC takes that for the same, unless the record of the domain says `adkim=s`.",
		see:    []string{"dkim.sign"},
	},
	{
		key:    "dkim.envelope_sender",
		value:  one(boolean, func(f fields) *bool { return &f.config.DKIM.Envelope }, true),
		effect: AtReload,
		text: "Whether mail whose author's domain has no key is signed by the domain of its envelope sender, such as that of the owner of a list; and mail without a sender by that of `hostname`. " +
			"Such a signature says who sent it, and does nothing for DMARC.",
		see: []string{"dkim.sign"},
	},
	{
		key:       "dkim.headers",
		value:     list(fieldName, func(f fields) *[]string { return &f.config.DKIM.Headers }),
		effect:    AtReload,
		byDefault: "those of [dkim.md](dkim.md#what-is-signed)",
		example:   `["X-Order-Number"]`,
		text:      "Header fields that are signed beside the usual ones. None of that name can be added, changed or taken away on the way without breaking the signature. Those that change on the way, such as Received, cannot be signed.",
	},
	{
		key:    "dkim.expiry",
		value:  one(duration(0, 365*day), func(f fields) *time.Duration { return &f.config.DKIM.Expiry }, 0),
		effect: AtReload,
		text:   "For how long a signature is good (`x=`), from when the message was taken. `\"0s\"`: for ever. A shorter time than mail may wait in the queue, in quarantine, or for you to release it, has verifiers refuse what is late.",
		see:    []string{"delivery.retry", "quarantine.keep"},
	},
	{
		key:    "dkim.overlap",
		value:  one(duration(time.Hour, 365*day), func(f fields) *time.Duration { return &f.config.DKIM.Overlap }, 7*day),
		effect: AtReload,
		text:   "How long a key is kept that another has replaced. Mail that it has signed is on its way for that long, and needs its record in DNS. Then it is removed, and the journal says that the record is needed no more.",
		see:    []string{"delivery.retry"},
	},
}

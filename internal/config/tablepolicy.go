package config

import "net/netip"

// policySettings are those of what is decided about clients and their mail: the
// tables [[handler]], [[list]] and [[block_list]].
var policySettings = []setting{
	{
		key:       "handler.name",
		value:     one(ruleName, func(f fields) *string { return &f.handler.Name }, ""),
		unique:    true,
		effect:    AtReload,
		byDefault: "`handler at FILE:LINE`",
		example:   `"no-yahoo"`,
		text:      "What the handler is called in log and journal, and by `explain`.",
	},
	{
		key: "handler.at",
		value: one(oneOf(
			choice[Command]{"connect", AtConnect, "before the client is greeted"},
			choice[Command]{"helo", AtHelo, "EHLO or HELO"},
			choice[Command]{"auth", AtAuth, "AUTH, when the credentials are good"},
			choice[Command]{"mail", AtMail, "MAIL: the sender"},
			choice[Command]{"rcpt", AtRcpt, "RCPT: each recipient"},
			choice[Command]{"data", AtData, "the content, when all of it is there"},
		), func(f fields) *Command { return &f.handler.At }, ""),
		effect:   AtReload,
		required: true,
		example:  `"rcpt"`,
		text:     "The command at which it runs.",
	},
	{
		key:       "handler.listeners",
		value:     passages("names", func(f fields) *[]Text { return &f.handler.Listeners }),
		effect:    AtReload,
		byDefault: "all",
		example:   `["smtp"]`,
		text:      "The listeners it is for, by name. `sendmail` is what programs of this host send.",
		see:       []string{"listener.name"},
	},
	{
		key:    "handler.sender",
		value:  passages("patterns", func(f fields) *[]Text { return &f.handler.Sender }, "*"),
		effect: AtReload,
		text: "The senders it is for, by patterns in which `*` is any characters or none; at `mail`, `rcpt` and `data`. The null sender is `<>`. " +
			"Of several handlers the one with the most specific pattern is chosen: [policy.md](policy.md) has the rules.",
		see: []string{"handler.recipient"},
	},
	{
		key:    "handler.recipient",
		value:  passages("patterns", func(f fields) *[]Text { return &f.handler.Recipient }, "*"),
		effect: AtReload,
		text:   "The recipients it is for, in the same way; at `rcpt` and `data`.",
		see:    []string{"handler.sender"},
	},
	{
		key:       "handler.when",
		value:     onePassage("condition", func(f fields) *Text { return &f.handler.When }),
		effect:    AtReload,
		byDefault: "always",
		example:   `'message.size > 1000000 && tls.version != ""'`,
		text: "A condition that must be true as well, in CEL, the Common Expression Language. [policy.md](policy.md) lists what it can ask. " +
			"When it cannot be worked out, or would cost too much, the client is told to come back later (451).",
	},
	{
		key:    "handler.priority",
		value:  one(integer(-1000, 1000), func(f fields) *int { return &f.handler.Priority }, 0),
		effect: AtReload,
		text:   "Decides between handlers that are alike in all else; the higher one is chosen.",
	},
	{
		key:      "handler.steps",
		value:    steps(func(f fields) *[]Step { return &f.handler.Steps }),
		effect:   AtReload,
		required: true,
		example:  `["accept"]`,
		text: "What is done, in order, until a step decides. A step is a word, or a table whose first key is the step and whose other keys are its options: " +
			"`{ limit = \"100/1h\", per = \"client.address\", over = \"defer\" }`. [policy.md](policy.md) lists the steps.",
	},
	{
		key: "handler.default",
		value: one(oneOf(
			choice[Ending]{"accept", EndAccept, "nothing speaks against it"},
			choice[Ending]{"reject", EndReject, "the client is refused for good"},
			choice[Ending]{"defer", EndDefer, "the client is told to come back later"},
		), func(f fields) *Ending { return &f.handler.Default }, EndAccept),
		effect: AtReload,
		text:   "What is decided when no step decides.",
	},

	{
		key:      "list.name",
		value:    one(plainName, func(f fields) *string { return &f.list.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"partners"`,
		text:     "What the list is called by those who ask it.",
	},
	{
		key: "list.kind",
		value: one(oneOf(
			choice[ListKind]{"networks", ListNetworks, "addresses and networks, such as `192.0.2.0/24` or `192.0.2.0 255.255.255.0`"},
			choice[ListKind]{"domains", ListDomains, "domains: `example.com` itself, `.example.com` for those below it"},
			choice[ListKind]{"addresses", ListAddresses, "mail addresses, such as `joe@example.com`"},
			choice[ListKind]{"patterns", ListPatterns, "patterns in which `*` is any characters or none, such as `*@example.com`"},
		), func(f fields) *ListKind { return &f.list.Kind }, ""),
		effect:   AtReload,
		required: true,
		example:  `"networks"`,
		text:     "What its entries are.",
	},
	{
		key: "list.source",
		value: one(oneOf(
			choice[ListSource]{"file", ListInFile, "in the file that `file` names, which a person or a program keeps"},
			choice[ListSource]{"directory", ListInDirectory, "in the directory, as the list of the same name, which `postern list` changes while the server runs"},
		), func(f fields) *ListSource { return &f.list.Source }, ListInFile),
		effect: AtReload,
		text:   "Where its entries are. A list in the directory is empty as long as the directory has none of that name and kind; `postern status` says so.",
		see:    []string{"list.file"},
	},
	{
		key:       "list.file",
		value:     file(func(f fields) *string { return &f.list.File }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"/etc/postern/lists/partners"`,
		text: "The file, of up to 100,000 lines. It must be there when the server starts, and be right; if it is wrong later, what it said before stays in force, and log and journal tell of it. " +
			"Whoever changes it had better write another file and rename that, so that nobody reads half of it.",
		see: []string{"list.source"},
	},

	{
		key:      "block_list.zone",
		value:    one(domain, func(f fields) *string { return &f.blockList.Zone }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"bl.example.org"`,
		text:     "The domain below which DNS has the list.",
	},
	{
		key:       "block_list.name",
		value:     one(replyText, func(f fields) *string { return &f.blockList.Name }, ""),
		unique:    true,
		effect:    AtReload,
		byDefault: "that of its zone",
		example:   `"Example blocklist"`,
		text:      "What the list is called in replies, log and journal. Set it if the zone has a key in its name that strangers must not see.",
	},
	{
		key: "block_list.kind",
		value: one(oneOf(
			choice[BlockListKind]{"addresses", BlockAddresses, "the addresses of clients"},
			choice[BlockListKind]{"domains", BlockDomains, "domains, such as that of a sender"},
		), func(f fields) *BlockListKind { return &f.blockList.Kind }, BlockAddresses),
		effect: AtReload,
		text:   "What the list is asked about.",
	},
	{
		key:    "block_list.answers",
		value:  list(blockAnswer, func(f fields) *[]BlockAnswer { return &f.blockList.Answers }, usualAnswers),
		effect: AtReload,
		text: "Which answers mean that somebody is listed: an address (`127.0.0.2`), a range of its last number (`127.0.0.2-11`), a network (`127.0.0.0/28`), or bits of which one must be set (`&0.0.0.6`). " +
			"`=5` behind one is its weight. What each answer means the operator of the list says. Answers outside of 127.0.0.0/8 and those in 127.255.255.0/24 never count: by them a list says that it does not answer.",
		see: []string{"block_list.weight"},
	},
	{
		key:    "block_list.weight",
		value:  one(integer(1, maxWeight), func(f fields) *int { return &f.blockList.Weight }, 1),
		effect: AtReload,
		text:   "What an answer without a weight of its own adds to the score of who is listed. Of several answers of a list the largest weight counts.",
		see:    []string{"block_list.answers"},
	},
	{
		key:    "block_list.exempt",
		value:  list(network, func(f fields) *[]netip.Prefix { return &f.blockList.Exempt }),
		effect: AtReload,
		text:   "Networks of whose clients the list is not asked. Nobody is asked about loopback and private addresses, in any case.",
	},
	{
		key:       "block_list.removal",
		value:     one(replyText, func(f fields) *string { return &f.blockList.Removal }, ""),
		effect:    AtReload,
		byDefault: "none",
		example:   `"https://bl.example.org/remove"`,
		text:      "How to be taken off the list: an address on the web, or a few words. It stands in the reply to who is refused.",
	},
}

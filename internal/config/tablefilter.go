package config

import "postern/internal/mail"

// filterSettings are those of the tables [[filter]] and [[rate]], and those of
// listeners that say whose mail they take.
var filterSettings = []setting{
	{
		key:    "listener.block_list_score",
		value:  one(integer(0, 20_000), func(f fields) *int { return &f.listener.BlockListScore }, 1),
		effect: AtReload,
		text: "The score from which on a client that block lists have is refused, at RCPT with 554 5.7.1: the sum of the weights of those that list it. The reply says which list, and how to be taken off. " +
			"Clients in `trust`, users who have authenticated, and mail for a `postmaster` are not asked about. `0` refuses nobody; handlers can ask for `dnsbl.score` all the same. As long as there is no `[[block_list]]` of addresses, nothing is asked.",
		see: []string{"block_list.zone", "block_list.weight", "listener.trust"},
	},
	{
		key:       "listener.sender_addresses",
		value:     passages("patterns", func(f fields) *[]Text { return &f.listener.SenderAddresses }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["*@example.com", "list:senders"]`,
		text: "The senders that are known, for `verify_sender` and `verify_from`: patterns in which `*` is any characters or none, " +
			"and lists of `addresses`, `domains` or `patterns` as `\"list:NAME\"`.",
		see: []string{"listener.verify_sender", "listener.verify_from"},
	},
	{
		key:    "listener.verify_sender",
		value:  one(verify, func(f fields) *Verify { return &f.listener.VerifySender }, VerifyOff),
		effect: AtReload,
		text: "Whether the sender in MAIL must be one of `sender_addresses`. The null sender `<>` is that of reports, and always may. " +
			"It proves nothing of who the client is: it keeps programs from sending in the name of others. With `\"account\"` it does: who has logged in sends in his own name ([accounts.md](accounts.md)). " +
			"An account for which addresses are recorded can use no other sender in any case.",
		see: []string{"listener.sender_addresses", "listener.verify_action", "listener.auth"},
	},
	{
		key:    "listener.verify_from",
		value:  one(verify, func(f fields) *Verify { return &f.listener.VerifyFrom }, VerifyOff),
		effect: AtReload,
		text: "Whether the address in the field From must be one of `sender_addresses`. There must be one field, with one address: a message with several authors, a group, " +
			"no From, two of them, or one that can be read in different ways is treated as one from a stranger. " +
			"With `\"account\"` there may be several authors: each must be one of the account's own addresses, unless that in the field Sender is.",
		see: []string{"listener.sender_addresses", "listener.verify_action", "listener.auth"},
	},
	{
		key: "listener.verify_action",
		value: one(oneOf(
			choice[VerifyAction]{"reject", VerifyReject, "the client is refused: 550 5.7.1 at MAIL, 554 5.7.1 at DATA"},
			choice[VerifyAction]{"rewrite", VerifyRewrite, "`verify_rewrite` takes its place; the old From fields are kept as X-Original-From"},
		), func(f fields) *VerifyAction { return &f.listener.VerifyAction }, VerifyReject),
		effect: AtReload,
		text: "What is done about a sender who is not one of `sender_addresses`. A message whose header cannot be read with certainty is refused with either, " +
			"because nobody knows which author its reader would see.",
		see: []string{"listener.verify_rewrite"},
	},
	{
		key:       "listener.verify_rewrite",
		value:     one(mailAddress, func(f fields) *mail.Address { return &f.listener.VerifyRewrite }, mail.Address{}),
		effect:    AtReload,
		byDefault: "none",
		example:   `"noreply@example.com"`,
		text:      "The address that takes the place of senders who are not known. It is not verified itself.",
		see:       []string{"listener.verify_action"},
	},

	{
		key:      "filter.name",
		value:    one(ruleName, func(f fields) *string { return &f.filter.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"scripts"`,
		text:     "What the filter is called in log and journal, by `explain`, and in quarantine.",
	},
	{
		key:       "filter.listeners",
		value:     passages("names", func(f fields) *[]Text { return &f.filter.Listeners }),
		effect:    AtReload,
		byDefault: "all",
		example:   `["smtp"]`,
		text:      "The listeners whose mail is filtered, by name. `sendmail` is what programs of this host send.",
		see:       []string{"listener.name"},
	},
	{
		key:       "filter.originator",
		value:     passages("patterns", func(f fields) *[]Text { return &f.filter.Originator }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["*@us.example.com", "list:bad-senders"]`,
		text: "Who has sent it: the sender in MAIL, and each address in From and Sender. Patterns, in which `*` is one or more characters and `?` exactly one, " +
			"and lists of `addresses`, `domains` or `patterns` as `\"list:NAME\"`.",
	},
	{
		key:       "filter.subject",
		value:     passages("patterns", func(f fields) *[]Text { return &f.filter.Subject }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["ILOVEYOU"]`,
		text:      "The subject, decoded, as a whole.",
	},
	{
		key:       "filter.attachment",
		value:     passages("patterns", func(f fields) *[]Text { return &f.filter.Attachment }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["*.vbs", "*.exe"]`,
		text:      "The name of an attachment, decoded; also of one within a message that is attached. What is within archives is not looked at.",
		see:       []string{"filter.unreadable"},
	},
	{
		key:       "filter.type",
		value:     passages("patterns", func(f fields) *[]Text { return &f.filter.Type }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["image/*"]`,
		text:      "The MIME type of the message or of a part, such as `image/gif`; also of one within a message that is attached.",
		see:       []string{"filter.unreadable"},
	},
	{
		key: "filter.match",
		value: one(oneOf(
			choice[FilterMatch]{"any", MatchAny, "one of the settings above is enough"},
			choice[FilterMatch]{"all", MatchAll, "each that is set must match"},
		), func(f fields) *FilterMatch { return &f.filter.Match }, MatchAny),
		effect: AtReload,
		text:   "Whether one of `originator`, `subject`, `attachment`, `type` must match, or all that are set. Of the patterns of one setting one is enough.",
	},
	{
		key: "filter.unreadable",
		value: one(oneOf(
			choice[Unreadable]{"keep", UnreadableKept, "if it may be one that the filter looks for it is kept in quarantine, whatever the filter does else"},
			choice[Unreadable]{"match", UnreadableMatches, "that it cannot be read is one more thing that the filter looks for"},
			choice[Unreadable]{"ignore", UnreadableIgnored, "what could be read decides: a message made to deceive may pass"},
		), func(f fields) *Unreadable { return &f.filter.Unreadable }, UnreadableKept),
		effect: AtReload,
		text: "What becomes of a message that [cannot be read with certainty](mime.md#when-it-cannot-be-read): malformed, or encrypted. " +
			"An encrypted message is kept by every filter of `attachment` or `type`, unless this is `\"ignore\"`.",
		see: []string{"filter.attachment", "filter.type"},
	},
	{
		key:    "filter.then",
		value:  then,
		effect: AtReload,
		text:   "What becomes of a message that matches: a word, or [steps](policy.md#steps) as those of a handler at `data`. No other filter is asked then, unless there are steps and none of them decides.",
		see:    []string{"quarantine.keep"},
	},

	{
		key:      "rate.name",
		value:    one(ruleName, func(f fields) *string { return &f.rate.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"per-client"`,
		text:     "What the rate is called in log and journal, and by `explain`. Counts are kept over a reload as long as it keeps its name.",
	},
	{
		key:       "rate.listeners",
		value:     passages("names", func(f fields) *[]Text { return &f.rate.Listeners }),
		effect:    AtReload,
		byDefault: "all",
		example:   `["smtp"]`,
		text:      "The listeners at which it counts, by name; all of them together. `sendmail` is what programs of this host send.",
		see:       []string{"listener.name"},
	},
	{
		key:      "rate.limit",
		value:    onePassage("rate", func(f fields) *Text { return &f.rate.Limit }),
		effect:   AtReload,
		required: true,
		example:  `"100 messages per 1h"`,
		text: "How much in which time ([lists.md](lists.md#rates)): `messages` are counted at MAIL, `recipients` at RCPT, `connections` when they come, and octets (`50MiB/1d`) " +
			"when a message has come as a whole. An amount alone counts messages.",
	},
	{
		key: "rate.per",
		value: one(oneOf(
			choice[RatePer]{"client", PerClient, "each IP address"},
			choice[RatePer]{"network", PerNetwork, "each network: a /24 of IPv4, a /64 of IPv6"},
			choice[RatePer]{"listener", PerListener, "each listener"},
			choice[RatePer]{"sender", PerSender, "each sender in MAIL, whatever its case"},
		), func(f fields) *RatePer { return &f.rate.Per }, PerClient),
		effect: AtReload,
		text:   "For what it is counted apart. A host with IPv6 has as many addresses as it likes: count it by `network`. A client that is not verified can name any sender.",
	},
	{
		key: "rate.over",
		value: one(oneOf(
			choice[RateOver]{"defer", OverDefer, "the client is told how long to wait: 421 when it connects, 450 at MAIL and RCPT, 451 at DATA"},
			choice[RateOver]{"reject", OverReject, "the client is refused for good"},
			choice[RateOver]{"hold", OverHold, "the mail is accepted, and its first delivery waits until there is room"},
		), func(f fields) *RateOver { return &f.rate.Over }, OverDefer),
		effect: AtReload,
		text:   "What is done with what is too much.",
	},
	{
		key:       "rate.exempt",
		value:     passages("networks", func(f fields) *[]Text { return &f.rate.Exempt }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["192.0.2.0/24", "list:partners"]`,
		text:      "Networks whose clients are not counted: addresses, prefixes, and lists of `networks` as `\"list:NAME\"`.",
	},
}

// thenWord is what becomes of a message that matches, in a word.
var thenWord = oneOf(
	choice[FilterThen]{"keep", ThenKeep, "it is accepted, and kept in quarantine until a person has judged it"},
	choice[FilterThen]{"discard", ThenDiscard, "it is accepted and dropped; nobody is told, and the journal has it"},
)

// then is such a word, or a list of steps.
var then = wordOrSteps(one(thenWord, func(f fields) *FilterThen { return &f.filter.Then }, ThenKeep),
	steps(func(f fields) *[]Step { return &f.filter.Steps }), func(f fields) bool { return len(f.filter.Steps) > 0 })

var verify = oneOf(
	choice[Verify]{"off", VerifyOff, "nobody's"},
	choice[Verify]{"unlisted", VerifyUnlisted, "of clients that are not in `trust`"},
	choice[Verify]{"all", VerifyAll, "of all clients"},
	choice[Verify]{"account", VerifyAccount, "of clients with an account: it must be one of the account's own addresses, and `sender_addresses` does not matter"},
)

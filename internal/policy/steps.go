package policy

import "postern/internal/config"

// stepKind is a row of the table of steps.
type stepKind struct {
	name string
	// at are the commands at which the step has a meaning; none: all.
	at []config.Command
	// word says that the step can be a word alone.
	word bool
	// value is what its value is, in the reference; empty when it has none.
	value string
	// options are its other keys.
	options []stepOption
	// final steps decide: nothing comes after them.
	final bool
	text  string // the prose of the reference, in Markdown
	// compile reads the step, and returns what it does.
	compile func(c *stepCompiler) action
}

// stepOption is an option of a step.
type stepOption struct {
	name     string
	required bool
	text     string
}

// Commands at which groups of steps have a meaning.
var (
	fromMail  = []config.Command{config.AtMail, config.AtRcpt, config.AtData}
	fromRcpt  = []config.Command{config.AtRcpt, config.AtData}
	untilMail = []config.Command{config.AtConnect, config.AtHelo, config.AtAuth, config.AtMail}
)

// kinds are all steps, in the order of the reference.
func kinds() []stepKind {
	return []stepKind{
		{name: "accept", word: true, final: true, compile: accept,
			text: "Nothing more is asked of this handler. Those of the later layers are still asked."},
		{name: "reject", word: true, value: "reply", final: true, compile: rejects,
			text: "The client is refused for good. The reply may begin with a code (500 to 599) and a status code of RFC 3463 of the same class; without them they are as the command has them by default."},
		{name: "defer", word: true, value: "reply", final: true, compile: defers,
			text: "The client is told to come back later, with a reply of 400 to 499."},
		{name: "discard", word: true, final: true, compile: discards,
			text: "The mail is accepted and dropped; nobody is told. The journal has the fact `discarded` for each recipient."},
		{name: "hold", word: true, value: "note", compile: holds,
			text: "The mail is accepted and kept until a person releases it. The note says why."},
		{name: "quarantine", word: true, value: "note", compile: quarantines,
			text: "The same, in quarantine."},
		{name: "redirect", value: "address", compile: redirects,
			text: "The mail goes to this address instead. It is the administrator's word, and not asked about by the relay layer."},
		{name: "add_recipient", value: "address, or a list", at: fromMail, compile: addsRecipient,
			text: "The mail goes to these addresses as well. They are not asked about by the relay layer."},
		{name: "remove_recipient", value: "pattern, or a list", at: []config.Command{config.AtData}, compile: removesRecipient,
			text: "Recipients with such addresses do not get the message; each has the fact `discarded`. Nor does who was added for such recipients alone: `redirect` puts one in the place of another."},
		{name: "rewrite_sender", value: "address", at: fromMail, compile: rewritesSender,
			text: "The mail has this sender instead. A `*` as local part or in it is the old local part, a `*` as domain the old domain; `<>` is the null sender, which stays as it is."},
		{name: "rewrite_from", value: "address", at: fromMail, compile: rewritesFrom,
			text: "The author in From is this address instead, with the name of the old one. All From fields that there were become X-Original-From."},
		{name: "rewrite_recipient", value: "address", at: fromRcpt, compile: rewritesRecipient,
			text: "The mail goes to this address instead, with `*` as above: `*@new.example.com`. The relay layer is asked about it."},
		{name: "add_header", value: `"Name: text"`, compile: addsHeader,
			text: "A field is put on top of the header."},
		{name: "remove_header", value: "name, or a list", compile: removesHeader,
			text: "All fields of the name are taken out."},
		{name: "replace_header", value: `"Name: text"`, compile: replacesHeader,
			text: "This field takes the place of the topmost one of its name, and the others are taken out; without any it is put on top."},
		{name: "set", value: "attribute", options: []stepOption{{name: "to", required: true, text: "the text"}}, compile: sets,
			text: "An attribute gets a value: one of your own, whose name has a dot and begins with none of the words that attributes begin with, or `smtp.helo.domain` or `smtp.helo.greeting` at `helo`. It is empty where it is not set."},
		{name: "tag", value: "text, or a list", compile: tags,
			text: "Words that the mail carries, for other handlers (`tags`) and for the journal."},
		{name: "class", value: "`bulk`, `normal` or `urgent`", compile: classifies,
			text: "The priority class of the mail, whatever else says of it ([priorities.md](priorities.md))."},
		{name: "route_via", value: "transport or server", compile: routesVia,
			text: "The mail goes by this transport, by name, or by this server: host with a dot in it, or host:port. A [route](routing.md) with `never_bypass` that is for the mail goes before it."},
		{name: "require_tls", word: true, value: "`required` or `verify`", compile: requiresTLS,
			text: "The mail leaves by TLS only; with `verify`, only to servers whose certificate is good for their name."},
		{name: "limit", value: "rate", compile: limits, options: []stepOption{
			{name: "per", required: true, text: "what is counted apart: an attribute or expression, or a list of them"},
			{name: "count", text: "how much this is, an expression; without it 1"},
			{name: "over", text: "what is done when it is too much: `defer` (the default, with the time to wait), `reject`, or `hold`, which accepts the mail and delivers it when there is room"},
		}, text: "Counts: `100/1h` is a hundred in any hour. A rate of octets, such as `50MiB/1d`, counts the size of the message. Counts are kept over a reload as long as the handler keeps its name and its steps their order, and lost at a start."},
		{name: "limit_account", word: true, at: []config.Command{config.AtMail, config.AtRcpt}, compile: limitsAccount,
			text: "Counts against the limits that are recorded for the client's account: messages at `mail` (451), recipients at `rcpt` (452); at `mail` a size that was declared and is too large is refused (552). " +
				"Without an account, and with one that has no limits, it does nothing. The setting `auth` stands for it."},
		{name: "copy_to", value: "address, or a list", compile: copiesTo,
			text: "These addresses get a copy, of which neither sender nor recipients hear. They are not asked about by the relay layer."},
		{name: "log", value: "text", compile: logs,
			text: "A line in the log."},
		{name: "allow_relay", word: true, at: untilMail, compile: allowsRelay,
			text: "The relay layer is content with what this client sends: in the session, or from `mail` in the transaction."},
		{name: "authenticate", value: "source", at: []config.Command{config.AtAuth}, compile: authenticates,
			text: "Who verifies the client: `directory`, or another source by its name, instead of `auth_sources` of the listener. The handler is chosen before that, for the name that the client has given (`authentication.subject.id`, empty for a token or a certificate that comes without one) and `authentication.mechanism`; " +
				"groups and addresses are not known by then. Its other steps are taken once the client is verified. Only the source gets the password: no step and no condition can read it."},
		{name: "greeting", value: "text", at: []config.Command{config.AtHelo}, compile: greets,
			text: "The text of the first line of the reply to EHLO or HELO. Without it that is the server's own."},
	}
}

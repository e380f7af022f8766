package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/message"
)

// attribute is a row of the table of attributes.
type attribute struct {
	name string
	kind *cel.Type
	// from is the command from which on it is known; only says that it is known at
	// that command alone.
	from config.Command
	only bool
	text string // the prose of the reference, in Markdown
	// get returns the value. It is called when a condition or a text needs it.
	get func(s *Session) any
}

// Types of attributes.
var (
	textList  = cel.ListType(cel.StringType)
	headerMap = cel.MapType(cel.StringType, textList)
)

// attributes are all attributes, in the order of the reference. Those that users of
// gateways know stand first, under their own names.
var attributes = []attribute{
	{name: "smtp.helo.domain", kind: cel.StringType, from: config.AtHelo, text: "What the client called itself in EHLO or HELO. Nobody has verified it.",
		get: func(s *Session) any { return types.String(s.helo()) }},
	{name: "smtp.helo.greeting", kind: cel.StringType, from: config.AtHelo, text: "The text of the first line of the reply to EHLO or HELO; `Hello ${smtp.helo.domain}` until the step `greeting` sets it.",
		get: func(s *Session) any { return types.String(s.greeting()) }},
	{name: "authentication.subject.id", kind: cel.StringType, from: config.AtConnect, text: "The user who has authenticated, or who sends on this host by `sendmail`; empty for none.",
		get: func(s *Session) any { return types.String(s.user) }},
	{name: "authentication.mechanism", kind: cel.StringType, from: config.AtConnect, text: "How the client has proved who it is: a mechanism of SASL such as `PLAIN`, or `certificate` or `address`; empty without an account.",
		get: func(s *Session) any { return types.String(s.account.Mechanism) }},
	{name: "authentication.source", kind: cel.StringType, from: config.AtConnect, text: "What has verified it: `directory`, or the name of another source; empty without an account.",
		get: func(s *Session) any { return types.String(s.account.Source) }},
	{name: "authentication.groups", kind: textList, from: config.AtConnect, text: "The groups that the account is in.",
		get: func(s *Session) any { return s.account.Groups }},
	{name: "authentication.addresses", kind: textList, from: config.AtConnect, text: "The addresses that are the account's own, with those of delegates: an address, or `*@domain`.",
		get: func(s *Session) any { return s.account.Addresses }},
	{name: "authentication.submit", kind: cel.BoolType, from: config.AtConnect, text: "Whether the account may send mail at all: to addresses of this host, or with `relay` to anywhere.",
		get: func(s *Session) any { return types.Bool(s.maySubmit()) }},
	{name: "authentication.relay", kind: cel.BoolType, from: config.AtConnect, text: "Whether the account may send mail to anywhere.",
		get: func(s *Session) any { return types.Bool(s.account.Services.Relay) }},
	{name: "authentication.limited", kind: cel.BoolType, from: config.AtConnect, text: "Whether limits are recorded for the account.",
		get: func(s *Session) any { return types.Bool(s.account.Limits != mail.AccountLimits{}) }},
	{name: "smtp.mail.own", kind: cel.BoolType, from: config.AtMail, text: "Whether the sender in MAIL is one of the account's own addresses; false without an account, and for the null sender.",
		get: func(s *Session) any { return types.Bool(s.account.owns(s.from)) }},
	{name: "smtp.mail.from", kind: cel.StringType, from: config.AtMail, text: "The sender in MAIL; empty for the null sender.",
		get: func(s *Session) any { return types.String(s.from.String()) }},
	{name: "smtp.rcpt.to", kind: cel.StringType, from: config.AtRcpt, only: true, text: "The recipient of this RCPT.",
		get: func(s *Session) any { return types.String(s.to.String()) }},
	{name: "smtp.rcpt.recipients", kind: textList, from: config.AtMail, text: "The recipients that were accepted so far; at `data` all of them.",
		get: func(s *Session) any { return s.recipientTexts() }},
	{name: "content.body", kind: cel.StringType, from: config.AtData, text: "What follows the header, its first 64 KiB. In a message without parts its transfer encoding is undone.",
		get: func(s *Session) any { return s.body() }},
	{name: "message.source", kind: cel.IntType, from: config.AtConnect, text: "The port at which the client connected; 0 for `sendmail`.",
		get: func(s *Session) any { return types.Int(s.origin.Local.Port()) }},
	{name: "message.protocol.type", kind: cel.StringType, from: config.AtConnect, text: "`smtp-ssl` with TLS, `smtp-tcp` in clear.",
		get: func(s *Session) any {
			if s.origin.TLS != nil {
				return types.String("smtp-ssl")
			}
			return types.String("smtp-tcp")
		}},
	{name: "monitoring.enabled", kind: cel.BoolType, from: config.AtConnect, text: "Whether `monitoring.address` is set.",
		get: func(s *Session) any { return types.Bool(s.engine.monitored) }},

	{name: "client.address", kind: cel.StringType, from: config.AtConnect, text: "The IP address of the client; empty for `sendmail`.",
		get: func(s *Session) any { return types.String(s.clientText()) }},
	{name: "client.port", kind: cel.IntType, from: config.AtConnect, text: "Its port.",
		get: func(s *Session) any { return types.Int(s.origin.Client.Port()) }},
	{name: "client.trusted", kind: cel.BoolType, from: config.AtConnect, text: "Whether the client is in `trust` of its listener, or a user of this host.",
		get: func(s *Session) any { return types.Bool(s.trusted()) }},
	{name: "client.masked", kind: cel.StringType, from: config.AtConnect, text: "Why a client is not trusted although `trust` has its address: that is one with which everybody may appear, such as the gateway of a container. Empty for every other client.",
		get: func(s *Session) any { return types.String(s.masked()) }},
	{name: "client.rejected", kind: cel.BoolType, from: config.AtConnect, text: "Whether the client is in `reject_clients` of its listener.",
		get: func(s *Session) any { return types.Bool(s.rules.reject.have(s.client())) }},
	{name: "client.network", kind: cel.StringType, from: config.AtConnect, text: "The network that its address is in: a /24 of IPv4, a /64 of IPv6; empty for `sendmail`.",
		get: func(s *Session) any { return types.String(s.networkText()) }},
	{name: "listener.name", kind: cel.StringType, from: config.AtConnect, text: "The listener; `sendmail` for programs of this host.",
		get: func(s *Session) any { return types.String(s.origin.Listener) }},
	{name: "tls.version", kind: cel.StringType, from: config.AtConnect, text: "The version of TLS, such as `TLS 1.3`; empty in clear.",
		get: func(s *Session) any { return types.String(s.tls().Version) }},
	{name: "tls.cipher", kind: cel.StringType, from: config.AtConnect, text: "The cipher suite by its IANA name; empty in clear.",
		get: func(s *Session) any { return types.String(s.tls().Cipher) }},
	{name: "relay.allowed", kind: cel.BoolType, from: config.AtConnect, text: "Whether a step `allow_relay` was taken.",
		get: func(s *Session) any { return types.Bool(s.mayRelay()) }},
	{name: "smtp.rcpt.local", kind: cel.BoolType, from: config.AtRcpt, only: true, text: "Whether the recipient is at this host itself.",
		get: func(s *Session) any { return types.Bool(s.isLocal(s.to)) }},
	{name: "smtp.rcpt.near", kind: cel.BoolType, from: config.AtRcpt, only: true, text: "Whether its domain is in `near` of the listener.",
		get: func(s *Session) any { return types.Bool(s.isNear(s.to.Domain)) }},
	{name: "message.size", kind: cel.IntType, from: config.AtMail, text: "The size in octets: before `data` what the client declared, 0 if it did not.",
		get: func(s *Session) any { return types.Int(s.size) }},
	{name: "message.subject", kind: cel.StringType, from: config.AtData, text: "The subject, decoded.",
		get: inContent(func(i *message.Inspection) any { return types.String(i.Subject()) })},
	{name: "message.subjects", kind: textList, from: config.AtData, text: "All subjects, decoded; usually there is one.",
		get: inContent(func(i *message.Inspection) any { return i.Subjects })},
	{name: "message.from", kind: textList, from: config.AtData, text: "The addresses in From.",
		get: inContent(func(i *message.Inspection) any { return i.From })},
	{name: "message.author", kind: cel.StringType, from: config.AtData, text: "The address in From, if it is certain: there is one From field, with one address. Empty with several, a group, or none.",
		get: inContent(func(i *message.Inspection) any { author, _ := i.Author(); return types.String(author.String()) })},
	{name: "message.own", kind: cel.BoolType, from: config.AtData, text: "Whether the author is certain, and the account's own: the address in Sender is, or without one each address in From.",
		get: func(s *Session) any {
			return inContent(func(i *message.Inspection) any { return types.Bool(s.ownsAuthors(i)) })(s)
		}},
	{name: "message.originators", kind: textList, from: config.AtData, text: "Who has sent it: the sender in MAIL, and the addresses in From and Sender; with domains also as DNS has them (`xn--`).",
		get: func(s *Session) any {
			return inContent(func(i *message.Inspection) any { return s.originators(i) })(s)
		}},
	{name: "message.header", kind: headerMap, from: config.AtData, text: "The header: lists of decoded values, by the name of the field in lower case. `header(\"Name\")` is easier.",
		get: inContent(func(i *message.Inspection) any { return headerValues(&i.Header) })},
	{name: "message.attachments", kind: textList, from: config.AtData, text: "The names of all parts that have one, decoded; those of messages within the message, too.",
		get: inContent(func(i *message.Inspection) any { return i.Names() })},
	{name: "message.types", kind: textList, from: config.AtData, text: "The MIME types of all parts, as `text/plain`, in lower case.",
		get: inContent(func(i *message.Inspection) any { return i.Types() })},
	{name: "message.readable", kind: cel.BoolType, from: config.AtData, text: "Whether all parts could be looked at. A message whose parts are malformed, nested too deep or too many cannot.",
		get: inContent(func(i *message.Inspection) any { return types.Bool(i.Readable()) })},
	{name: "message.readable_header", kind: cel.BoolType, from: config.AtData, text: "Whether subject and authors are certain.",
		get: inContent(func(i *message.Inspection) any { return types.Bool(i.ReadableHeader()) })},
	{name: "message.readable_parts", kind: cel.BoolType, from: config.AtData, text: "Whether types and names of all parts are certain.",
		get: inContent(func(i *message.Inspection) any { return types.Bool(i.ReadableParts()) })},
	{name: "message.defects", kind: textList, from: config.AtData, text: "Why it cannot be read with certainty: the part, and what is wrong with it.",
		get: inContent(func(i *message.Inspection) any { return defectTexts(i) })},
	{name: "dnsbl.score", kind: cel.IntType, from: config.AtConnect, text: "The sum of the weights of the block lists that have the client.",
		get: func(s *Session) any { return types.Int(s.listings().Score) }},
	{name: "dnsbl.lists", kind: textList, from: config.AtConnect, text: "The block lists that have the client.",
		get: func(s *Session) any { return s.listings().Lists }},
	{name: "dnsbl.text", kind: cel.StringType, from: config.AtConnect, text: "What the block list of the largest weight says to the client, and how it is taken off; the list is asked for it when it is needed. Empty when no list has the client.",
		get: func(s *Session) any { return types.String(s.listingText()) }},
	{name: "tags", kind: textList, from: config.AtConnect, text: "What the step `tag` has set for session and transaction; at `rcpt` also for the recipient.",
		get: func(s *Session) any { return s.tags() }},
	{name: "now", kind: cel.TimestampType, from: config.AtConnect, text: "The time.",
		get: func(s *Session) any { return types.Timestamp{Time: s.engine.clock.Now()} }},
}

// maxBody is how much of the body conditions can look at, in octets.
const maxBody = 64 << 10

// rank is the place of a command in the order of commands.
func rank(c config.Command) int { return slices.Index(config.Commands, c) }

// known reports whether the attribute has a value at a command.
func (a *attribute) known(at config.Command) bool {
	if a.only {
		return at == a.from
	}
	return rank(at) >= rank(a.from)
}

// since says from when on it is known.
func (a *attribute) since() string {
	if a.only {
		return "at " + string(a.from) + " alone"
	}
	return "from " + string(a.from) + " on"
}

func attributeNames() []string {
	names := make([]string, len(attributes))
	for i := range attributes {
		names[i] = attributes[i].name
	}
	return names
}

func findAttribute(name string) *attribute {
	i := slices.IndexFunc(attributes, func(a attribute) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	return &attributes[i]
}

// values is a session as conditions see it: by the names of its attributes.
type values Session

// ResolveName returns the value of an attribute.
func (v *values) ResolveName(name string) (any, bool) { return (*Session)(v).value(name) }

// Parent is nil: there are no values beside the session's.
func (*values) Parent() cel.Activation { return nil }

func (s *Session) value(name string) (any, bool) {
	if a := s.engine.attributes[name]; a != nil {
		if a.from == config.AtData {
			return s.ofContent(a), true
		}
		return a.get(s), true
	}
	if s.engine.custom[name] {
		return types.String(s.attribute(name)), true
	}
	return nil, false
}

func (s *Session) greeting() string {
	if g := s.attribute("smtp.helo.greeting"); g != "" {
		return g
	}
	return "Hello " + s.helo()
}

// helo is what the client called itself, or what a step has made of it.
func (s *Session) helo() string {
	return cmp.Or(s.attribute("smtp.helo.domain"), s.origin.Hello)
}

func (s *Session) tls() mail.TLS {
	if s.origin.TLS == nil {
		return mail.TLS{}
	}
	return *s.origin.TLS
}

// client is the address of the client; the zero Addr for sendmail.
func (s *Session) client() netip.Addr { return plainAddr(s.origin.Client.Addr()) }

// plainAddr is an address as networks have it: IPv4 as such, and without the zone that
// a link-local client has.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (s *Session) clientText() string {
	if c := s.client(); c.IsValid() {
		return c.String()
	}
	return ""
}

// isNear reports whether a domain is in near of the listener.
func (s *Session) isNear(domain string) bool {
	domain = asciiDomain(domain)
	return s.rules.near[domain] || len(s.rules.nearLists) > 0 && domain != "" && anyHas(s.rules.nearLists, domain)
}

// trusted reports whether the client may be trusted for who it is: a user of this host,
// or one in trust whose address tells.
func (s *Session) trusted() bool {
	if s.origin.User != nil {
		return true
	}
	trusted, _ := s.engine.Trusts(s.origin.Listener, s.client())
	return trusted
}

// masked is why the client is not trusted although trust has its address.
func (s *Session) masked() string {
	_, masked := s.engine.Trusts(s.origin.Listener, s.client())
	return masked
}

func (s *Session) networkText() string {
	n := limit.Network(s.client())
	if n.Bits() > networkBits && n.Addr().Is4() {
		n, _ = n.Addr().Prefix(networkBits) // cannot fail
	}
	if !n.IsValid() {
		return ""
	}
	return n.String()
}

// networkBits is the length of the prefix of what is taken for a network of IPv4: the
// smallest that is routed on the Internet.
const networkBits = 24

// originators are all who may be taken for the sender of the message.
func (s *Session) originators(i *message.Inspection) []string {
	list := slices.Concat(i.From, i.Sender)
	if !s.from.IsNull() {
		list = append(list, s.from.String())
	}
	for _, text := range slices.Clone(list) {
		if at := strings.LastIndexByte(text, '@'); at >= 0 {
			list = append(list, text[:at+1]+asciiDomain(text[at+1:]))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func defectTexts(i *message.Inspection) []string {
	texts := make([]string, len(i.Defects))
	for n, d := range i.Defects {
		texts[n] = d.String()
	}
	return texts
}

func (s *Session) isLocal(a mail.Address) bool {
	return s.engine.options.Local != nil && s.engine.options.Local(a, s.origin.Local.Addr())
}

func (s *Session) recipientTexts() []string { return addressTexts(s.recipients) }

func addressTexts(list []mail.Address) []string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return texts
}

// ofContent returns what an attribute says of the content. It is worked out once a
// message: a loop may ask for it a hundred thousand times, of which no bound of costs
// knows.
func (s *Session) ofContent(a *attribute) any {
	if v, known := s.content[a.name]; known {
		return v
	}
	v := a.get(s)
	if s.content == nil {
		s.content = make(map[string]any)
	}
	s.content[a.name] = v
	return v
}

// inContent is the getter of what was found in the message, which is looked for
// once.
func inContent(get func(*message.Inspection) any) func(*Session) any {
	return func(s *Session) any {
		if s.found == nil {
			found, err := s.message.Inspect()
			if err != nil {
				return types.WrapErr(err)
			}
			s.found = found
		}
		return get(s.found)
	}
}

func (s *Session) body() ref.Val {
	text, err := s.message.Body(maxBody)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.String(strings.ToValidUTF8(text, "\ufffd"))
}

// headerValues are the decoded values of the fields, by name in lower case.
func headerValues(h *message.Header) map[string][]string {
	values := make(map[string][]string)
	for f := range h.Fields() {
		name := strings.ToLower(f.Name())
		text, _ := message.DecodeText(f.Value())
		values[name] = append(values[name], text)
	}
	return values
}

// listings are the block lists that have the client, asked once a session.
func (s *Session) listings() Listings {
	if s.listed == nil {
		var l Listings
		if b := s.engine.options.BlockLists; b != nil && s.client().IsValid() {
			l = b.Look(s.ctx, s.client())
		}
		s.listed = &l
	}
	return *s.listed
}

// listingText is what the block lists say to the client.
func (s *Session) listingText() string {
	if say := s.listings().Text; say != nil {
		return say(s.ctx)
	}
	return ""
}

func (s *Session) tags() []string {
	var tags []string
	for f := range s.inForce {
		tags = append(tags, f.treatment.Tags...)
	}
	return tags
}

func (s *Session) mayRelay() bool {
	for f := range s.inForce {
		if f.relay {
			return true
		}
	}
	return false
}

// attribute returns an attribute that a step has set, the one that was set last.
func (s *Session) attribute(name string) string {
	var value string
	for f := range s.inForce {
		if v, set := f.attributes[name]; set {
			value = v
		}
	}
	return value
}

// asciiDomain returns a domain in the one form in which domains are compared: that
// of DNS, in lower case. One that has none stays as it is.
func asciiDomain(domain string) string {
	if ascii, err := mail.ASCIIDomain(domain); err == nil {
		domain = ascii
	}
	return strings.ToLower(domain)
}

// formatTime writes a time in texts.
func formatTime(t time.Time) string { return t.Format(time.RFC3339) }

package config

import (
	"net/netip"
	"time"

	"postern/internal/charset"
)

// poolSettings are those of pools, and of their target servers.
var poolSettings = []setting{
	{
		key:    "transport.refresh",
		value:  one(atLeast(duration(time.Second, day), 10*time.Second, "it asks for all names of the pool each time"), func(f fields) *time.Duration { return &f.transport.Refresh }, 5*time.Minute),
		effect: AtReload,
		text:   "How often the names of the targets of a pool are looked up again. `postern target refresh` does it at once. A name for which DNS gives no answer keeps the addresses that it had.",
		see:    []string{"target.name", "target.mx"},
	},
	{
		key:    "transport.connect_retry",
		value:  one(atLeast(duration(time.Second, time.Hour), 30*time.Second, "servers that are overloaded would be asked all the time"), func(f fields) *time.Duration { return &f.transport.ConnectRetry }, 2*time.Minute),
		effect: AtReload,
		text: "How long a target server that cannot be used is left alone before it is probed. When it answers one message is sent there, and when that went through, all may be. " +
			"A name for which DNS gives no answer is looked up again after this time, too.",
		see: []string{"transport.drain_timeout"},
	},
	{
		key:    "transport.drain_timeout",
		value:  one(duration(time.Second, time.Hour), func(f fields) *time.Duration { return &f.transport.DrainTimeout }, time.Minute),
		effect: AtReload,
		text: "How long a message that is being sent may take until the end when its target server is changed, taken out of the pool, drained or reconnected. " +
			"After that it is broken off and tried elsewhere.",
		see: []string{"transport.connect_retry"},
	},

	{
		key:      "target.pool",
		value:    one(transportName, func(f fields) *string { return &f.target.Pool }, ""),
		effect:   AtReload,
		required: true,
		example:  `"hubs"`,
		text:     "The pool that the target is in: the name of a `[[transport]]` with `kind = \"pool\"`.",
		see:      []string{"transport.kind"},
	},
	{
		key:       "target.address",
		value:     one(maybeIP(ipAddress), func(f fields) *netip.Addr { return &f.target.Address }, netip.Addr{}),
		effect:    AtReload,
		byDefault: "none",
		example:   `"192.0.2.25"`,
		text:      "The address of the target server. A target has this, `name` or `mx`. A certificate must be for the address then, where it is verified; few are.",
		see:       []string{"target.name", "target.mx"},
	},
	{
		key:       "target.name",
		value:     one(domain, func(f fields) *string { return &f.target.Name }, ""),
		effect:    AtReload,
		byDefault: "none",
		example:   `"hub.example.com"`,
		text:      "The name of the target server. Each of its addresses (A and AAAA records) is a server of its own.",
		see:       []string{"target.address", "transport.refresh"},
	},
	{
		key:       "target.mx",
		value:     one(domain, func(f fields) *string { return &f.target.MX }, ""),
		effect:    AtReload,
		byDefault: "none",
		example:   `"hubs.example.com"`,
		text:      "A domain whose MX records name the target servers. Those of the lowest preference there come first. Without MX records the domain itself is the server.",
		see:       []string{"target.address", "transport.refresh"},
	},
	{
		key:    "target.port",
		value:  one(integer(1, 65535), func(f fields) *int { return &f.target.Port }, smtpPort),
		effect: AtReload,
		text:   "The port of the target server.",
	},
	{
		key:    "target.preference",
		value:  one(integer(0, 65535), func(f fields) *int { return &f.target.Preference }, 0),
		effect: AtReload,
		text: "Which targets come first: those with the lowest. Others get mail when these cannot be used, cannot take the message, or have as many connections as they may. " +
			"Among equals the order of the file counts, but for those with a weight.",
		see: []string{"target.weight", "target.max_connections"},
	},
	{
		key:    "target.weight",
		value:  one(integer(0, 1000), func(f fields) *int { return &f.target.Weight }, 0),
		effect: AtReload,
		text: "The share of the target in the new connections, among those of the same preference that have a weight: of two with 3 and 1 the first gets three of four. " +
			"These come before those of the same preference that have none. 0 is none.",
		see: []string{"target.preference"},
	},
	{
		key:    "target.max_connections",
		value:  one(integer(1, 1000), func(f fields) *int { return &f.target.MaxConnections }, 5),
		effect: AtReload,
		text:   "How many connections there may be to each server of the target.",
		see:    []string{"target.max_messages"},
	},
	{
		key:    "target.max_messages",
		value:  one(integer(0, 1_000_000), func(f fields) *int { return &f.target.MaxMessages }, 0),
		effect: AtReload,
		text:   "How many messages go over one connection to a server of the target before there is a new one; 0 is any number.",
		see:    []string{"target.max_connections"},
	},
	{
		key:    "target.assumed_size",
		value:  one(size(1, maxAssumed), func(f fields) *int64 { return &f.target.AssumedSize }, 512*kib),
		effect: AtReload,
		text: "The largest message for a server of the target that cannot say how large they may be, because it does not know EHLO (RFC 1870). " +
			"One that knows EHLO and names no size takes any.",
	},
	{
		key:    "target.secure",
		value:  one(boolean, func(f fields) *bool { return &f.target.Secure }, false),
		effect: AtReload,
		text: "Whether nothing goes to the target in clear. How much more is asked of TLS is for the transport to say. When no server of the pool that can be used offers STARTTLS, " +
			"mail for it comes back to its sender at once.",
		see: []string{"transport.tls"},
	},
	{
		key:       "target.charset",
		value:     one(charsetName, func(f fields) *string { return &f.target.Charset }, ""),
		effect:    AtReload,
		byDefault: "none",
		example:   `"iso-8859-1"`,
		text: "The only charset that the target knows for texts. At each attempt, what a message declares to be in another one is converted: parts of the type text, encoded words in the " +
			"fields of its header that people read (RFC 2047), and names of parts (RFC 2231, or encoded words in quotes). A message that is signed, DKIM signatures of this server among them, or has characters " +
			"that the charset lacks goes to the other targets of the pool; when no target can take it, it comes back to its sender at once (550 5.6.3). Without this setting all goes as it is.",
		see: []string{"target.pool"},
	},
}

// charsetName is the name of a charset to which texts of mail can be converted.
var charsetName = textType("charset", "charsets", `write the name of a charset that has US-ASCII, such as "iso-8859-1", "utf-8", "big5", "iso-2022-jp", "shift_jis", "euc-kr" or "gb18030"`,
	func(s string) (string, *fault) {
		c, err := charset.ForMail(s)
		if err != nil {
			return "", faultf("", "%q is %v", clip(s), err)
		}
		return c.String(), nil
	})

// maxAssumed bounds what is assumed of the size of messages.
const maxAssumed = 4 * gib

// maybeIP is an address that need not be there.
func maybeIP(s scalar[netip.Addr]) scalar[netip.Addr] {
	show := s.show
	s.show = func(a netip.Addr) string {
		if !a.IsValid() {
			return filePath.show("")
		}
		return show(a)
	}
	return s
}

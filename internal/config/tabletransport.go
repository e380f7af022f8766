package config

import "postern/internal/mail"

// transportSettings are those of the ways by which mail leaves.
var transportSettings = []setting{
	{
		key:      "transport.name",
		value:    one(transportName, func(f fields) *string { return &f.transport.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"partners"`,
		text:     "What the transport is called by routes, and in log and journal.",
	},
	{
		key: "transport.kind",
		value: one(oneOf(
			choice[TransportKind]{"smarthost", TransportSmarthost, "to the servers in `hosts`, whatever the recipient's domain is"},
			choice[TransportKind]{"pool", TransportPool, "to the servers of its `[[target]]` tables, of which it is known how they stand ([targets.md](targets.md))"},
			choice[TransportKind]{"mx", TransportMX, "to the servers that the recipient's domain names in DNS"},
			choice[TransportKind]{"lmtp", TransportLMTP, "to the servers in `hosts` by LMTP (RFC 2033), as those speak it that have the mailboxes, such as Dovecot"},
			choice[TransportKind]{"discard", TransportDiscard, "nowhere: its mail is dropped, which the journal tells and nobody else"},
		), func(f fields) *TransportKind { return &f.transport.Kind }, TransportSmarthost),
		effect: AtReload,
		text:   "How the transport finds the servers.",
		see:    []string{"transport.hosts"},
	},
	{
		key:       "transport.hosts",
		value:     list(hop, func(f fields) *[]mail.HostPort { return &f.transport.Hosts }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["relay1.example.com:587", "relay2.example.com:587"]`,
		text: "The servers of a transport of the kind `smarthost` or `lmtp`, in the order in which they are tried, as in `delivery.smarthosts`. " +
			"In LMTP one can be behind a Unix socket, `\"unix:/run/dovecot/lmtp\"`, and the usual port is 24; it is never 25.",
		see: []string{"transport.kind"},
	},
}

var transportName = transportNameLike("transport")

// transportNameLike is the type of names of the kind of those of transports.
func transportNameLike(of string) scalar[string] {
	return textType("name", "names", `write a word of letters, digits, "-" and "_" that begins with a letter, such as "partners"`,
		func(s string) (string, *fault) {
			if !mail.IsTransportName(s) {
				return "", faultf("", "%q cannot be the name of a %s", clip(s), of)
			}
			return s, nil
		})
}

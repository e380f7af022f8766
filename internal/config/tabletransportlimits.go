package config

import (
	"time"

	"postern/internal/limit"
)

// transportLimitSettings are those of how mail goes by a transport.
var transportLimitSettings = []setting{
	{
		key:       "transport.max_connections",
		value:     one(integer(1, 10_000), func(f fields) *int { return &f.transport.MaxConnections }, 0),
		effect:    AtReload,
		byDefault: "as `delivery.max_connections_per_site`; of a pool what its targets bear",
		example:   "5",
		text: "How many connections go to one site of the transport, that is to one list of servers. All transports together have `delivery.max_connections`. " +
			"The targets of a pool have limits of their own: without this, all together have what these come to.",
		see: []string{"delivery.max_connections_per_site", "target.max_connections"},
	},
	{
		key:    "transport.max_messages",
		value:  one(integer(0, 1_000_000), func(f fields) *int { return &f.transport.MaxMessages }, 0),
		effect: AtReload,
		text: "How many messages go over one connection; then it ends with QUIT, and the next message gets a new one. `0` is any number. " +
			"A server that names a limit itself (MAILMAX, RFC 9422 4.1) is heeded, too.",
		see: []string{"transport.idle_timeout"},
	},
	{
		key:       "transport.max_recipients",
		value:     one(integer(1, 50_000), func(f fields) *int { return &f.transport.MaxRecipients }, 0),
		effect:    AtReload,
		byDefault: "as `delivery.max_recipients`",
		example:   "1000",
		text:      "How many recipients of a message are sent in one transaction. A message with more takes several. A server that takes fewer says so, and is heeded (RFC 5321 4.5.3.1.10, RFC 9422 4.2).",
		see:       []string{"delivery.max_recipients"},
	},
	{
		key:       "transport.rate",
		value:     one(orNothing(messageRate, limit.Rate{}), func(f fields) *limit.Rate { return &f.transport.Rate }, limit.Rate{}),
		effect:    AtReload,
		byDefault: "any number",
		example:   `"100/1m"`,
		text: "How many messages go to one site of the transport in a time, at most in any time of that length. What is more waits for its turn: no attempt is counted, and nothing is held meanwhile. " +
			"A message counts once, however many recipients it has there. A start forgets what went before.",
		see: []string{"transport.max_connections"},
	},
	{
		key:       "transport.max_size",
		value:     one(size(kib, 2*gib), func(f fields) *int64 { return &f.transport.MaxSize }, 0),
		effect:    AtReload,
		byDefault: "none",
		example:   `"20MiB"`,
		text: "The size of the largest message that goes by the transport. A larger one is undeliverable at once (552 5.3.4), and its sender is told; no server is asked. " +
			"A limit that a server names (SIZE, RFC 1870) is heeded without this.",
		see: []string{"listener.max_size"},
	},
	{
		key:       "transport.idle_timeout",
		value:     one(orNothing(duration(0, 5*time.Minute), AsDelivery), func(f fields) *time.Duration { return &f.transport.IdleTimeout }, AsDelivery),
		effect:    AtReload,
		byDefault: "as `delivery.idle_timeout`",
		example:   `"0s"`,
		text:      "How long a connection is kept for the next message when there is none. `\"0s\"` closes it behind each message, as CSSMTP does with ConnectIdle 0.",
		see:       []string{"delivery.idle_timeout"},
	},
	ofTransport("connect_timeout", connectTimeout, func(f fields) *time.Duration { return &f.transport.ConnectTimeout },
		"How long to wait for a connection to one address before the next is tried."),
	ofTransport("greeting_timeout", greetingTimeout, func(f fields) *time.Duration { return &f.transport.GreetingTimeout },
		"How long to wait for the greeting of a server that has taken the connection (RFC 5321 4.5.3.2.1)."),
	ofTransport("command_timeout", commandTimeout, func(f fields) *time.Duration { return &f.transport.CommandTimeout },
		"How long to wait for the reply to EHLO, LHLO, STARTTLS, AUTH, MAIL or RCPT (RFC 5321 4.5.3.2.2, 4.5.3.2.3)."),
	ofTransport("data_timeout", dataTimeout, func(f fields) *time.Duration { return &f.transport.DataTimeout },
		"How long to wait for the reply to DATA (RFC 5321 4.5.3.2.4)."),
	ofTransport("block_timeout", blockTimeout, func(f fields) *time.Duration { return &f.transport.BlockTimeout },
		"How long a server may take to accept the next block of the message, 64 KiB (RFC 5321 4.5.3.2.5)."),
	ofTransport("final_timeout", finalTimeout, func(f fields) *time.Duration { return &f.transport.FinalTimeout },
		"How long to wait for the reply to the end of the message (RFC 5321 4.5.3.2.6); in LMTP for each of the replies to it."),
	{
		key:       "transport.extensions_off",
		value:     list(offered, func(f fields) *[]Extension { return &f.transport.WithoutExtensions }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["CHUNKING", "PIPELINING"]`,
		text: "The extensions that are not used, even if a server offers them: for servers, and firewalls before them, that offer what they cannot do. `8BITMIME`, `CHUNKING`, `DSN`, `PIPELINING`, `REQUIRETLS`, `SIZE`, `SMTPUTF8`, `STARTTLS`. " +
			"Mail that needs one of them is treated as by a server without it: it is converted, or comes back, or waits where TLS is demanded. `SMTPUTF8` needs `8BITMIME`, and `REQUIRETLS` needs `STARTTLS`.",
		see: []string{"listener.extensions_off", "transport.tls"},
	},
}

// The times for each phase with a server; what each row says that it may take is the least
// that is wise.
var (
	connectTimeout  = duration(time.Second, time.Hour)
	greetingTimeout = atLeast(duration(time.Second, time.Hour), 5*time.Minute, "RFC 5321 4.5.3.2.1 lets a busy server take 5 minutes")
	commandTimeout  = atLeast(duration(time.Second, time.Hour), 5*time.Minute, "RFC 5321 4.5.3.2.2 lets a server take 5 minutes, as one that delays strangers does")
	dataTimeout     = atLeast(duration(time.Second, time.Hour), 2*time.Minute, "RFC 5321 4.5.3.2.4 lets a server take 2 minutes")
	blockTimeout    = atLeast(duration(time.Second, time.Hour), 3*time.Minute, "RFC 5321 4.5.3.2.5 lets a server take 3 minutes for a block")
	finalTimeout    = atLeast(duration(time.Second, time.Hour), 10*time.Minute, "RFC 5321 4.5.3.2.6 lets a server take 10 minutes; what it takes later is sent a second time")
)

// ofTransport is the row of a time that a transport has from [delivery] unless it has its
// own.
func ofTransport(name string, times scalar[time.Duration], field func(fields) *time.Duration, text string) setting {
	return setting{
		key: "transport." + name, value: one(times, field, 0), effect: AtReload,
		byDefault: "as `delivery." + name + "`", example: `"15m"`, text: text, see: []string{"delivery." + name},
	}
}

// offered are the extensions that a next server can offer, and that can be done without.
var offered = oneOf(
	choice[Extension]{"8BITMIME", Extension8BitMIME, ""},
	choice[Extension]{"CHUNKING", ExtensionChunking, ""},
	choice[Extension]{"DSN", ExtensionDSN, ""},
	choice[Extension]{"PIPELINING", ExtensionPipelining, ""},
	choice[Extension]{"REQUIRETLS", ExtensionRequireTLS, ""},
	choice[Extension]{"SIZE", ExtensionSize, ""},
	choice[Extension]{"SMTPUTF8", ExtensionSMTPUTF8, ""},
	choice[Extension]{"STARTTLS", ExtensionStartTLS, ""},
)

// orNothing is a type one of whose values says that there is none.
func orNothing[T comparable](s scalar[T], nothing T) scalar[T] {
	show := s.show
	s.show = func(v T) string {
		if v == nothing {
			return `""`
		}
		return show(v)
	}
	return s
}

// messageRate is a rate of messages.
var messageRate = textType("rate", "rates", `write messages and a time, such as "100/1m"`, func(s string) (limit.Rate, *fault) {
	r, err := limit.Parse(s)
	switch {
	case err != nil:
		return limit.Rate{}, faultf("", "%v", err)
	case r.Of != "" && r.Of != limit.Messages:
		return limit.Rate{}, faultf("", "%q counts %s; a transport counts messages", clip(s), r.Of)
	}
	r.Of = ""
	return r, nil
})

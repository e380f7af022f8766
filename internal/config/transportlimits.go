package config

import (
	"strings"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
)

// TransportLimits is how mail goes by a transport: how much of it, how fast, and what is
// said to the servers.
type TransportLimits struct {
	// A zero number is that of [delivery].
	MaxConnections, MaxRecipients int
	MaxMessages                   int        // over one connection; 0: any number
	Rate                          limit.Rate // of messages to a site; zero: any
	MaxSize                       int64      // 0: any
	IdleTimeout                   time.Duration

	ConnectTimeout, GreetingTimeout, CommandTimeout, DataTimeout, BlockTimeout, FinalTimeout time.Duration

	// WithoutExtensions are taken as not offered.
	WithoutExtensions []Extension
}

// AsDelivery is the idle_timeout of a transport that has that of [delivery].
const AsDelivery time.Duration = -1

// The kinds of transports that are no way to a server of SMTP.
const (
	TransportLMTP    TransportKind = "lmtp"    // to servers that have the mailboxes
	TransportDiscard TransportKind = "discard" // nowhere
)

// hasList reports whether the servers of a transport are those of its hosts.
func (k TransportKind) hasList() bool { return k == TransportSmarthost || k == TransportLMTP }

// More extensions, which a next server can offer.
const (
	ExtensionSize     Extension = "SIZE"
	ExtensionStartTLS Extension = "STARTTLS"
)

// lmtpPort is the port of a server of LMTP that is named without one, as IANA has it.
const lmtpPort = 24

// usualPort is that of a server that is named without one.
func (k TransportKind) usualPort() uint16 {
	if k == TransportLMTP {
		return lmtpPort
	}
	return smtpPort
}

// unixPrefix begins a server that is behind a Unix socket.
const unixPrefix = "unix:"

// maxSocketPath is how long the path of a Unix socket can be on every system, in octets.
const maxSocketPath = 103

// hop is a server of a transport: a host, or in LMTP a Unix socket.
var hop = textType("server", "servers", `write host or host:port, such as "relay.example.com:587" or "[2001:db8::1]:25"; in LMTP also "unix:/run/dovecot/lmtp"`,
	func(s string) (mail.HostPort, *fault) {
		path, isSocket := strings.CutPrefix(s, unixPrefix)
		if !isSocket {
			h, err := mail.ParseHostPort(s, 0)
			if err != nil {
				return mail.HostPort{}, faultf("", "%q: %v", clip(s), err)
			}
			return h, nil
		}
		switch {
		case !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }):
			return mail.HostPort{}, faultf("", "%q is not the whole path of a socket", clip(s))
		case len(path) > maxSocketPath:
			return mail.HostPort{}, faultf("", "%q has more than %d octets, which a socket cannot have", clip(s), maxSocketPath)
		}
		return mail.HostPort{Socket: path}, nil
	})

// checkHops wants servers that can be spoken to as the kind of the transport does.
func (d *decoder) checkHops(t *table) {
	x, at := t.fields.transport, t.given["hosts"]
	if len(at.node.items) != len(x.Hosts) {
		return
	}
	for i, h := range x.Hosts {
		var wrong *fault
		switch {
		case h.Socket != "" && x.Kind == TransportSmarthost:
			wrong = faultf(`write kind = "lmtp", or name a host`, "%q is a Unix socket, behind which LMTP is spoken", clip(h.String()))
		case h.Port == smtpPort && x.Kind == TransportLMTP:
			wrong = faultf("name the port of the server, such as 24",
				"%s has port 25, at which LMTP must not be spoken: a server that answers there speaks SMTP (RFC 2033 5)", clip(h.String()))
		default:
			continue
		}
		d.fault(at.source.place(at.node.items[i].at), "transport.hosts", wrong)
	}
}

// checkDiscard refuses settings of servers where there are none.
func (d *decoder) checkDiscard(t *table) {
	if t.fields.transport.Kind != TransportDiscard {
		return
	}
	for _, row := range transportLimitSettings {
		key := strings.TrimPrefix(row.key, "transport.")
		if at, given := t.given[key]; given && key != "max_size" {
			d.fault(at.key, row.key, faultf("leave it out", `is set, but a transport of the kind "discard" speaks to no server`))
		}
	}
}

// checkWithout refuses extensions that are of no use without others that are off.
func (d *decoder) checkWithout(t *table) {
	off := make(map[Extension]bool)
	for _, e := range t.fields.transport.WithoutExtensions {
		off[e] = true
	}
	at, is := t.given["extensions_off"]
	switch {
	case !is:
	case off[Extension8BitMIME] && !off[ExtensionSMTPUTF8]:
		d.fault(at.value, "transport.extensions_off", faultf(`add "SMTPUTF8"`, "has 8BITMIME, without which there is no SMTPUTF8 (RFC 6531 3.1)"))
	case off[ExtensionStartTLS] && !off[ExtensionRequireTLS]:
		d.fault(at.value, "transport.extensions_off", faultf(`add "REQUIRETLS"`, "has STARTTLS, without which there is no REQUIRETLS (RFC 8689 2)"))
	}
}

package config

import (
	"crypto/tls"
	"net/netip"
	"slices"
)

// tlsVersion is the type of a version of TLS.
var tlsVersion = oneOf(
	choice[TLSVersion]{"1.0", tls.VersionTLS10, "unsafe: for devices that know nothing else, on a network of their own"},
	choice[TLSVersion]{"1.1", tls.VersionTLS11, "unsafe likewise"},
	choice[TLSVersion]{"1.2", tls.VersionTLS12, "what every client of the last ten years knows"},
	choice[TLSVersion]{"1.3", tls.VersionTLS13, "clients that know only TLS 1.2 send in clear then, or not at all"},
)

// cipherSuite is the type of a cipher suite.
var cipherSuite = func() scalar[CipherSuite] {
	s := textType("cipher suite", "cipher suites", `write the name that IANA has for it, such as "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"`,
		func(text string) (CipherSuite, *fault) {
			for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
				switch {
				case s.Name != text:
				case !slices.Contains(s.SupportedVersions, tls.VersionTLS12):
					return 0, faultf("leave it out", "%q is one of TLS 1.3, whose suites are all safe and cannot be chosen", clip(text))
				default:
					return CipherSuite(s.ID), nil
				}
			}
			return 0, faultf("", "%q is not a cipher suite that is known here", clip(text))
		})
	s.unwise = func(suite CipherSuite) *fault {
		if !suite.insecure() {
			return nil
		}
		return advicef("leave it out; or listen for old devices at a private address, with a [[listener]] of its own", "%q can be broken", suite)
	}
	return s
}()

// extension is the type of an extension that a listener can do without.
var extension = oneOf(
	choice[Extension]{"8BITMIME", Extension8BitMIME, ""},
	choice[Extension]{"CHUNKING", ExtensionChunking, ""},
	choice[Extension]{"DSN", ExtensionDSN, ""},
	choice[Extension]{"PIPELINING", ExtensionPipelining, ""},
	choice[Extension]{"REQUIRETLS", ExtensionRequireTLS, ""},
	choice[Extension]{"SMTPUTF8", ExtensionSMTPUTF8, ""},
)

// addition is the type of a listener's word about a field that is missing.
var addition = oneOf(
	choice[Addition]{"message", AddAsMessage, "as the table `[message]` says"},
	choice[Addition]{"yes", AddAlways, "add it"},
	choice[Addition]{"no", AddNever, "leave the message as it is"},
)

// doorSettings are those of listeners that say how clients are taken in.
var doorSettings = []setting{
	{
		key: "listener.tls",
		value: one(oneOf(
			choice[ListenerTLS]{"none", ListenerClear, "in clear only"},
			choice[ListenerTLS]{"starttls", ListenerStartTLS, "in clear, until the client says STARTTLS (RFC 3207)"},
			choice[ListenerTLS]{"implicit", ListenerImplicit, "TLS from the first octet (RFC 8314), as clients expect it at port 465"},
		), func(f fields) *ListenerTLS { return &f.listener.TLS }, ""),
		effect:    AtReload,
		byDefault: "`\"starttls\"` with a certificate, `\"none\"` without",
		example:   `"implicit"`,
		text:      "How the listener does TLS.",
		see:       []string{"listener.tls_certificate", "listener.tls_required"},
	},
	{
		key:    "listener.tls_required",
		value:  one(boolean, func(f fields) *bool { return &f.listener.TLSRequired }, false),
		effect: AtReload,
		text: "Whether clients must use TLS. Before STARTTLS everything that leads to mail is then refused with 530 5.7.0 (RFC 3207 4). " +
			"A server of the Internet that takes mail from other servers must not set it, because not all of them know TLS.",
		see: []string{"listener.tls"},
	},
	{
		key:    "listener.tls_min_version",
		value:  one(tlsVersion, func(f fields) *TLSVersion { return &f.listener.TLSMinVersion }, tls.VersionTLS12),
		effect: AtReload,
		text: "The oldest version of TLS that is taken. `1.0` and `1.1` are for devices that cannot be renewed; with them come the cipher suites that such devices need. They are refused at an address of the Internet, " +
			"warned of at one that stands for every address of the host, and `postern listener list` marks the listener. The metric `postern_smtp_old_habits_total` counts the sessions that needed them.",
		see: []string{"listener.tls_ciphers"},
	},
	{
		key:       "listener.tls_ciphers",
		value:     list(cipherSuite, func(f fields) *[]CipherSuite { return &f.listener.TLSCiphers }),
		effect:    AtReload,
		byDefault: "those that are safe",
		example:   `["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]`,
		text: "The cipher suites of TLS 1.2 and before that are taken, by the names that IANA has for them; the server chooses among them. Those of TLS 1.3 are all safe, and cannot be chosen. " +
			"By default they are those with forward secrecy that nobody can break, and with `tls_min_version` below `1.2` also TLS_RSA_WITH_AES_128_CBC_SHA and TLS_RSA_WITH_AES_256_CBC_SHA.",
		see: []string{"listener.tls_min_version"},
	},
	{
		key: "listener.client_certificates",
		value: one(oneOf(
			choice[ClientCertificates]{"ignore", ClientCertificatesIgnore, "clients are not asked for one"},
			choice[ClientCertificates]{"accept", ClientCertificatesAccept, "clients are asked, and may have none; one that does not verify proves nothing but its own fingerprint"},
			choice[ClientCertificates]{"require", ClientCertificatesRequire, "a client without one that verifies is refused: 554 5.7.0 under TLS, 530 5.7.0 in clear"},
		), func(f fields) *ClientCertificates { return &f.listener.ClientCertificates }, ClientCertificatesIgnore),
		effect: AtReload,
		text: "What becomes of the certificates that clients have. The journal keeps fingerprint, subject and names, and a user of the directory can be known by them. " +
			"A certificate is looked at behind the handshake, so that the client hears in SMTP what is wrong with it.",
		see: []string{"listener.client_authorities"},
	},
	{
		key:       "listener.client_authorities",
		value:     file(func(f fields) *string { return &f.listener.ClientAuthorities }),
		effect:    AtReload,
		byDefault: "none: no certificate verifies",
		example:   `"/etc/postern/tls/clients.pem"`,
		text: "A PEM file with the certificates of the authorities by whom those of clients verify; one that a client has signed itself can stand there too. The authorities that the system trusts are not among them: " +
			"everybody can have a certificate of these. A certificate must be for TLS (clients, servers, or any use), and valid at the time.",
		see: []string{"listener.client_certificates"},
	},
	{
		key:       "listener.proxy_from",
		value:     list(network, func(f fields) *[]netip.Prefix { return &f.listener.ProxyFrom }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["10.0.0.7"]`,
		text: "The proxies, such as HAProxy, before this listener: a connection from one of these networks must begin with a PROXY header (version 1 or 2), before TLS, and the client is who that says, for limits, `trust`, policy and journal. " +
			"Without one it is refused with 421 4.3.5. From elsewhere such a header is no command. An address of a proxy is never trusted, because nobody knows who stands behind it, unless `trust_gateway` is set.",
		see: []string{"listener.trust"},
	},
	{
		key:       "listener.extensions_off",
		value:     list(extension, func(f fields) *[]Extension { return &f.listener.ExtensionsOff }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["CHUNKING"]`,
		text: "The extensions that are not offered: `8BITMIME`, `CHUNKING`, `DSN`, `PIPELINING`, `REQUIRETLS`, `SMTPUTF8`. What belongs to them is then refused: parameters of MAIL and RCPT with 555, BDAT with 502. " +
			"It is for clients that choke on an extension, and for servers behind this one that cannot honour it. `SMTPUTF8` needs `8BITMIME`.",
	},
	{
		key:    "listener.add_date",
		value:  one(addition, func(f fields) *Addition { return &f.listener.AddDate }, AddAsMessage),
		effect: AtReload,
		text:   "Whether a message that comes in by this listener without a Date field gets one: there are devices that have no clock.",
		see:    []string{"message.add_date"},
	},
	{
		key:    "listener.add_message_id",
		value:  one(addition, func(f fields) *Addition { return &f.listener.AddMessageID }, AddAsMessage),
		effect: AtReload,
		text:   "Whether a message that comes in by this listener without a Message-ID field gets one.",
		see:    []string{"message.add_message_id"},
	},
}

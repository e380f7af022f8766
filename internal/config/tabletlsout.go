package config

import (
	"crypto/tls"
	"strings"

	"postern/internal/mail"
)

// tlsOutSettings are those of TLS with the next servers.
var tlsOutSettings = []setting{
	{
		key:    "transport.tls",
		value:  one(withPin(tlsPolicy("for the server's name")), func(f fields) *TLSPolicy { return &f.transport.TLS }, TLSOpportunistic),
		effect: AtReload,
		text: "What TLS a connection to a server of the transport must have. [tls-out.md](tls-out.md) tells what is judged, and what is said of it. `opportunistic` and `required` keep out who only listens; " +
			"only `verify` and `pin` keep out who can stand in between. Mail for which the demand is not met waits. A message, or its domain, may demand more, and never less.",
		see: []string{"transport.tls_ca_file", "transport.tls_pins", "tls.policy"},
	},
	{
		key:       "transport.tls_ca_file",
		value:     file(func(f fields) *string { return &f.transport.TLSCAFile }),
		effect:    AtReload,
		byDefault: "the authorities that the system trusts",
		example:   `"/etc/postern/tls/partners.pem"`,
		text: "A PEM file with the certificates by which, under `verify`, those of the servers are known, instead of those of the system: of an authority, or of the very servers. " +
			"It is read again when it changes, within seconds and without a reload; what cannot be used is told, and the list from before stays in use.",
		see: []string{"transport.tls", "transport.tls_names"},
	},
	{
		key:       "transport.tls_pins",
		value:     list(pin, func(f fields) *[]mail.Pin { return &f.transport.TLSPins }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]`,
		text: "The keys or certificates, one of which a server must have under `pin`: each the SHA-256 of the public key (RFC 7469 2.4) or of the whole certificate, in base64 behind `sha256/`, or in hexadecimal. " +
			"Name the next one before a server changes its key, so that no mail waits. [tls-out.md](tls-out.md#pins) tells how they are found out.",
		see: []string{"transport.tls"},
	},
	{
		key:       "transport.tls_names",
		value:     list(certificateName, func(f fields) *[]string { return &f.transport.TLSNames }),
		effect:    AtReload,
		byDefault: "the name of the server that is connected to",
		example:   `["partner.example", "*.partner.example"]`,
		text: "Names, for one of which a certificate must be under `verify`, instead of for the server's own. `*.` before a name stands for one label. " +
			"They are for servers whose names come from DNS, which can be forged, and for those that are named by an address.",
		see: []string{"transport.tls"},
	},
	{
		key:       "transport.tls_min_version",
		value:     one(oldest, func(f fields) *TLSVersion { return &f.transport.TLSMinVersion }, 0),
		effect:    AtReload,
		byDefault: "`1.2`, and with `opportunistic` `1.0`",
		example:   `"1.3"`,
		text: "The oldest version of TLS that will do. Without a demand an old one is better than none: the mail would go in clear. " +
			"What has to go by TLS does not go by one that can be broken.",
		see: []string{"transport.tls"},
	},
	{
		key:       "transport.tls_certificate",
		value:     one(plainName, func(f fields) *string { return &f.transport.TLSCertificate }, ""),
		effect:    AtReload,
		byDefault: "that of the sender's company",
		example:   `"client"`,
		text: "The certificate that is shown to servers that ask for one, whoever sends, by its name: that of a `[[certificate]]` table, or one that `postern cert list` shows. " +
			"One that is replaced is shown from the next connection on.",
		see: []string{"company.certificate", "certificate.name"},
	},
	{
		key:    "transport.tls_ehlo",
		value:  one(boolean, func(f fields) *bool { return &f.transport.TLSEHLO }, true),
		effect: AtReload,
		text: "Whether EHLO is said again under TLS, as RFC 3207 4.2 wants it. `false` is for servers that do not bear it; what they offered in clear, where anybody could have changed it, is then believed, and nothing " +
			"that they offer only under TLS, such as AUTH, is used.",
		see: []string{"transport.tls"},
	},
	{
		key:    "transport.tls_implicit",
		value:  one(boolean, func(f fields) *bool { return &f.transport.TLSImplicit }, false),
		effect: AtReload,
		text:   "Whether TLS begins with the first octet (RFC 8314 3.3), as at port 465, and not by STARTTLS. It needs a policy of `required` or more.",
		see:    []string{"transport.hosts", "transport.tls"},
	},

	{
		key:      "tls.domains",
		value:    withLists(list(domainPattern, func(f fields) *[]string { return &f.tls.Domains }), ListDomains, func(f fields) *[]Text { return &f.tls.Lists }),
		effect:   AtReload,
		required: true,
		example:  `["partner.example", "*.partner.example"]`,
		text: "The domains of recipients for whose mail this holds. `*.` before one stands for every domain below it, and not for itself; `\"list:NAME\"` for the domains of a list. " +
			"Of several tables that name a domain, the first holds.",
		see: []string{"tls.policy", "list.name"},
	},
	{
		key: "tls.policy",
		value: one(withPin(oneOf(
			choice[TLSPolicy]{"required", TLSRequired, "with TLS or not at all; the certificate may be anyone's"},
			choice[TLSPolicy]{"verify", TLSVerify, "with TLS, and a certificate for the server's name by an authority that is trusted"},
		)), func(f fields) *TLSPolicy { return &f.tls.TLS }, TLSVerify),
		effect: AtReload,
		text: "What TLS a connection must have that carries mail for the domains. The stronger of this and of the transport's policy holds. By a transport of the kind `mx` all of the table holds; by others, whose servers are not those of the domain, " +
			"only that there must be TLS, of `min_version`, and under `verify` and `pin` that the server must be verified as its transport has it.",
		see: []string{"tls.domains", "transport.tls", "delivery.mx_tls"},
	},
	{
		key:       "tls.ca_file",
		value:     file(func(f fields) *string { return &f.tls.TLSCAFile }),
		effect:    AtReload,
		byDefault: "the authorities that the system trusts",
		example:   `"/etc/postern/tls/partners.pem"`,
		text:      "As `transport.tls_ca_file`, for the servers of the domains.",
		see:       []string{"transport.tls_ca_file"},
	},
	{
		key:       "tls.pins",
		value:     list(pin, func(f fields) *[]mail.Pin { return &f.tls.TLSPins }),
		effect:    AtReload,
		byDefault: "none",
		example:   `["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]`,
		text:      "As `transport.tls_pins`, for the servers of the domains.",
		see:       []string{"transport.tls_pins"},
	},
	{
		key:       "tls.names",
		value:     list(certificateName, func(f fields) *[]string { return &f.tls.TLSNames }),
		effect:    AtReload,
		byDefault: "the name of the server that is connected to, as DNS has it",
		example:   `["partner.example", "*.partner.example"]`,
		text:      "As `transport.tls_names`, for the servers of the domains. With them, who can forge answers of DNS gets no mail.",
		see:       []string{"transport.tls_names"},
	},
	{
		key:       "tls.min_version",
		value:     one(oldest, func(f fields) *TLSVersion { return &f.tls.TLSMinVersion }, 0),
		effect:    AtReload,
		byDefault: "`1.2`",
		example:   `"1.3"`,
		text:      "As `transport.tls_min_version`; the higher of the two holds, whatever the kind of the transport.",
		see:       []string{"transport.tls_min_version"},
	},
}

// withPin is a type of policy that has pin, too.
func withPin(s scalar[TLSPolicy]) scalar[TLSPolicy] {
	choices := make([]choice[TLSPolicy], 0, len(s.options)+1)
	for _, o := range s.options {
		choices = append(choices, choice[TLSPolicy]{o.word, TLSPolicy(o.word), o.text})
	}
	return oneOf(append(choices, choice[TLSPolicy]{"pin", TLSPin, "with TLS, and a key or certificate that is named here"})...)
}

// oldest is a version of TLS that need not be named.
var oldest = oneOf(
	choice[TLSVersion]{"1.0", tls.VersionTLS10, "for servers that know nothing else; it can be broken"},
	choice[TLSVersion]{"1.1", tls.VersionTLS11, "likewise"},
	choice[TLSVersion]{"1.2", tls.VersionTLS12, "what every server of the last ten years knows"},
	choice[TLSVersion]{"1.3", tls.VersionTLS13, "the newest"},
)

var pin = textType("pin", "pins", "write sha256/ and 44 characters of base64, or 64 hexadecimal digits; `openssl x509 -fingerprint -sha256` shows that of a certificate",
	func(s string) (mail.Pin, *fault) {
		p, err := mail.ParsePin(s)
		if err != nil {
			return mail.Pin{}, faultf("", "%q is not a pin", clip(s))
		}
		return p, nil
	})

// certificateName is a host name that stands in certificates, also for one label.
var certificateName = textType("host name", "host names", `write a name such as "mx.partner.example", or "*.partner.example" for one label before it`,
	func(s string) (string, *fault) { return starred(s, "host name") })

// domainPattern is a domain, or all below it.
var domainPattern = textType("domain", "domains", `write a domain, such as "example.com", or "*.example.com" for those below it`,
	func(s string) (string, *fault) { return starred(s, "domain") })

// starred reads a domain that "*." may stand before.
func starred(s, what string) (string, *fault) {
	rest := strings.TrimPrefix(s, "*.")
	if strings.HasPrefix(rest, "[") || mail.CheckDomain(rest) != nil {
		return "", faultf("", "%q is not a %s", clip(s), what)
	}
	return strings.ToLower(s), nil
}

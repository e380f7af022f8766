package config

import (
	"net/netip"
	"net/url"
	"time"

	"postern/internal/mail"
)

// letsEncrypt is the directory of the best known authority.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// certificateSettings are those of certificates.
var certificateSettings = []setting{
	{
		key:       "listener.certificates",
		value:     passages("names", func(f fields) *[]Text { return &f.listener.Certificates }),
		effect:    AtReload,
		byDefault: "those that `postern cert assign` gives the listener",
		example:   `["mail"]`,
		text: "The certificates of the listener, by their names: those of `[[certificate]]` tables, and those that `postern cert list` shows. The first is for clients that " +
			"ask for no name or for one that nobody knows; the others are for clients that ask for one of their names (SNI, RFC 6066 3): [certificates.md](certificates.md#which-one-a-client-gets). " +
			"With `tls_certificate` that is the first, and these come after it.",
		see: []string{"certificate.name", "listener.tls_certificate"},
	},

	{
		key:      "certificate.name",
		value:    one(plainName, func(f fields) *string { return &f.certificate.Name }, ""),
		unique:   true,
		effect:   AtReload,
		required: true,
		example:  `"mail"`,
		text:     "What the certificate is called by listeners, by `postern cert`, and in log and journal.",
		see:      []string{"listener.certificates"},
	},
	{
		key:       "certificate.certificate",
		value:     file(func(f fields) *string { return &f.certificate.File }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"/etc/postern/tls/fullchain.pem"`,
		text: "A PEM file with the certificate, followed by those of its issuers. It is read again when it changes, within seconds and without a reload; " +
			"what cannot be used is told, and the one from before stays in use.",
		see: []string{"certificate.key"},
	},
	{
		key:       "certificate.key",
		value:     file(func(f fields) *string { return &f.certificate.Key }),
		effect:    AtReload,
		byDefault: "none",
		example:   `"/etc/postern/tls/key.pem"`,
		text:      "A PEM file with the private key of the certificate (RSA, ECDSA or Ed25519), without a passphrase. It may be the same file. Only the server's user should be able to read it.",
		see:       []string{"certificate.certificate"},
	},
	{
		key:    "certificate.acme",
		value:  one(boolean, func(f fields) *bool { return &f.certificate.ACME }, false),
		effect: AtReload,
		text: "Whether the certificate is had from an authority by ACME (RFC 8555), and renewed in time, instead of from files. The table `[acme]` says from which. " +
			"Until there is one the server starts without it, and a listener that has no other offers no TLS.",
		see: []string{"certificate.names", "acme.agree_terms"},
	},
	{
		key:       "certificate.names",
		value:     list(hostname, func(f fields) *[]string { return &f.certificate.Names }),
		effect:    AtReload,
		byDefault: "`hostname`",
		example:   `["mail.example.com", "smtp.example.com"]`,
		text:      "The names for which certificates are had by ACME, one certificate each. The first is for clients that ask for none of them.",
		see:       []string{"certificate.acme", "hostname"},
	},

	{
		key:    "acme.directory",
		value:  one(secureURL, func(f fields) *string { return &f.config.ACME.Directory }, letsEncrypt),
		effect: AtReload,
		text:   "The URL of the directory of the authority (RFC 8555 7.1.1).",
		see:    []string{"acme.ca_file"},
	},
	{
		key:       "acme.email",
		value:     one(mailAddress, func(f fields) *mail.Address { return &f.config.ACME.Email }, mail.Address{}),
		effect:    AtReload,
		byDefault: "none",
		example:   `"postmaster@example.com"`,
		text:      "The address at which the authority reaches a person about the account.",
	},
	{
		key:    "acme.agree_terms",
		value:  one(boolean, func(f fields) *bool { return &f.config.ACME.AgreeTerms }, false),
		effect: AtReload,
		text:   "Whether you agree to the terms of service of the authority. Without that there is no account, and no certificate.",
	},
	{
		key: "acme.challenge",
		value: one(oneOf(
			choice[Challenge]{"http-01", ChallengeHTTP, "by HTTP at port 80 (RFC 8555 8.3)"},
			choice[Challenge]{"tls-alpn-01", ChallengeTLSALPN, "by TLS at port 443 (RFC 8737)"},
		), func(f fields) *Challenge { return &f.config.ACME.Challenge }, ChallengeHTTP),
		effect: AtReload,
		text:   "How the authority is shown that the names are this server's.",
		see:    []string{"acme.address"},
	},
	{
		key:       "acme.address",
		value:     one(maybeAddress(listenAddress), func(f fields) *netip.AddrPort { return &f.config.ACME.Address }, netip.AddrPort{}),
		effect:    AtReload,
		byDefault: "`:80` or `:443`, as the challenge asks",
		example:   `":80"`,
		text: "Where the challenge is answered, only while there is one. The authority comes to port 80 or 443 of each name; another port is for a host " +
			"before this one that passes that on. A port below 1024 needs the capability CAP_NET_BIND_SERVICE, which the unit of the package gives.",
		see: []string{"acme.challenge"},
	},
	{
		key:       "acme.ca_file",
		value:     file(func(f fields) *string { return &f.config.ACME.CAFile }),
		effect:    AtReload,
		byDefault: "the authorities that the system trusts",
		example:   `"/etc/postern/tls/acme-root.pem"`,
		text:      "A PEM file with the certificates by which the authority's own server is known, for one within a company.",
		see:       []string{"acme.directory"},
	},
	{
		key:    "acme.check_every",
		value:  one(duration(time.Second, 24*time.Hour), func(f fields) *time.Duration { return &f.config.ACME.CheckEvery }, 10*time.Minute),
		effect: AtRestart,
		text:   "How often it is looked whether a certificate is to be renewed, which is when a third of its time is left, or when the authority says so (RFC 9773). What has failed is tried again by itself, less and less often.",
	},
}

// secureURL keeps to https: what ACME signs is for the URL that was meant (RFC 8555
// 6.1).
var secureURL = textType("URL", "URLs", `write a URL with https, such as "`+letsEncrypt+`"`,
	func(s string) (string, *fault) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return "", faultf("", "%q is no URL with https", clip(s))
		}
		return s, nil
	})

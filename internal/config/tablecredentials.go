package config

// credentialSettings are those of what this server proves to the next ones. They follow those
// of transports and of TLS.
var credentialSettings = []setting{
	{
		key:       "transport.credential",
		value:     one(credentialName, func(f fields) *string { return &f.transport.Credential }, ""),
		effect:    AtReload,
		byDefault: "the one that is for the server, if there is one",
		example:   `"partners"`,
		text: "The credential of the directory with which this server authenticates itself to those of the transport; TLS with them is verified then, whatever `tls` says. " +
			"It is shown to the servers that the configuration names, and to those for which the credential itself is. While it is not there, or cannot be used, mail waits. [credentials.md](credentials.md) tells in which order one is looked for.",
		see: []string{"delivery.smarthost_credential", "transport.tls", "credentials.key_file"},
	},

	{
		key:       "credentials.key_file",
		value:     file(func(f fields) *string { return &f.config.Credentials.KeyFile }),
		effect:    AtReload,
		byDefault: "`credentials.key` in `data_dir`",
		example:   `"/etc/postern/keys/credentials.key"`,
		text: "The file with the keys under which the secrets of credentials are sealed. The first `postern credential add` makes it, with mode 0600, and `postern credential rekey` replaces it: the server's user must be able to write in its directory. " +
			"Nobody but its owner may read it. Keep a copy of it, apart from backups of the directory: who has both has the passwords, and without it they are lost.",
		see: []string{"transport.credential", "data_dir"},
	},
	{
		key:       "credentials.authorities",
		value:     file(func(f fields) *string { return &f.config.Credentials.Authorities }),
		effect:    AtReload,
		byDefault: "those that the system trusts",
		example:   `"/etc/postern/tls/issuers.pem"`,
		text:      "A PEM file with the certificates of those that may vouch for the issuers of tokens, where these are within the company.",
		see:       []string{"credentials.key_file"},
	},
}

// smarthostCredential stands among those of deliveries.
var smarthostCredential = setting{
	key:       "delivery.smarthost_credential",
	value:     one(credentialName, func(f fields) *string { return &f.config.Delivery.SmarthostCredential }, ""),
	effect:    AtReload,
	byDefault: "the one that is for the server, if there is one",
	example:   `"relay"`,
	text: "The credential of the directory with which this server authenticates itself to the smarthosts, before it sends any mail, as `transport.credential` does: `postern credential add relay --user NAME --password`. " +
		"TLS with them is verified then, whatever `smarthost_tls` says; usually the smarthost has port 587. While a smarthost does not accept it, the next is tried, and mail waits.",
	see: []string{"transport.credential", "delivery.smarthost_tls"},
}

var credentialName = transportNameLike("credential")

package config

// accountSettings are those that say what follows from who a client has proved to be.
var accountSettings = []setting{
	{
		key: "listener.auth",
		value: one(oneOf(
			choice[Auth]{"off", AuthOff, "AUTH is not offered, and accounts do not matter: not even what is known by a certificate or an address"},
			choice[Auth]{"optional", AuthOptional, "offered: an account with the service `relay` may send to anywhere, and so may a client without one, as `relay` has it"},
			choice[Auth]{"relay", AuthRelay, "only accounts may send to anywhere: that a client is in `trust` does not suffice"},
			choice[Auth]{"relay_and_local", AuthRelayAndLocal, "mail for this host and for `near` needs an account, too, but for that for a `postmaster`; and sender and From must be its own"},
			choice[Auth]{"required", AuthRequired, "nobody can say MAIL without an account (530 5.7.0)"},
		), func(f fields) *Auth { return &f.listener.Auth }, AuthOff),
		effect: AtReload,
		text: "What an account is needed for. Whoever has one is judged by it alone, and no longer by his address: it may send to anywhere with the service `relay`, to addresses of this host with `submit`, " +
			"under the addresses that are recorded for it, and within its limits ([accounts.md](accounts.md)). The step `allow_relay` of a handler lets others relay, but does not stand for an account with `\"required\"`.",
		see: []string{"listener.relay", "listener.verify_sender", "listener.verify_from"},
	},
	{
		key: "listener.vrfy",
		value: one(oneOf(
			choice[VRFY]{"vague", VRFYVague, "252 for every address: send mail to find out"},
			choice[VRFY]{"tell", VRFYTell, "250 if mail for it would find somebody, 550 5.1.1 if it is of this host and there is nobody; 252 if it is elsewhere"},
			choice[VRFY]{"refuse", VRFYRefuse, "550 for every address"},
		), func(f fields) *VRFY { return &f.listener.VRFY }, VRFYVague),
		effect: AtReload,
		text: "What VRFY says (RFC 5321 3.5). With `\"tell\"` everybody who reaches the listener can find out which addresses there are, as those do who collect them for spam. " +
			"Where they lead nobody is told. EXPN is never done.",
		see: []string{"listener.auth"},
	},
	{
		key:    "message.account_in_headers",
		value:  one(boolean, func(f fields) *bool { return &f.config.Message.AccountInHeaders }, false),
		effect: AtReload,
		text: "Whether the Received field names the account of the client: `(authenticated as joe)`. It goes to everybody who gets the message, and tells a name with which somebody can log in; " +
			"the journal has it in any case.",
		see: []string{"listener.auth"},
	},
}

// Auth is what an account is needed for at a listener.
type Auth string

// What it is needed for, from the least.
const (
	AuthOff           Auth = "off"      // for nothing, and AUTH is not offered
	AuthOptional      Auth = "optional" // for nothing that another client may do
	AuthRelay         Auth = "relay"    // to send to other hosts
	AuthRelayAndLocal Auth = "relay_and_local"
	AuthRequired      Auth = "required" // for MAIL
)

// VRFY is what a listener says to VRFY.
type VRFY string

// The answers to VRFY.
const (
	VRFYVague  VRFY = "vague"
	VRFYTell   VRFY = "tell"
	VRFYRefuse VRFY = "refuse"
)

// Accounts reports whether only who has an account may send to other hosts.
func (a Auth) Accounts() bool { return a == AuthRelay || a == AuthRelayAndLocal }

// checkAuth refuses what contradicts itself: mail from everybody for anywhere, and
// from accounts alone.
func (d *decoder) checkAuth(t *table) {
	l := t.fields.listener
	if auth, has := t.given["auth"]; has && l.Auth.Accounts() && l.Relay == RelayEverybody {
		d.fault(auth.value, "listener.auth", faultf(`leave relay out, or set auth to "optional"`,
			"is %q, and relay is %q: either accounts alone may send to anywhere, or everybody", l.Auth, l.Relay))
	}
}

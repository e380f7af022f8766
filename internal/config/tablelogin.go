package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// mechanisms are those of SASL that the server knows, in the order in which they are
// offered. Package auth has them.
var mechanisms = []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"}

var mechanism = textType("mechanism", "mechanisms", "write one of "+strings.Join(mechanisms, ", "),
	func(s string) (string, *fault) {
		if name := strings.ToUpper(s); slices.Contains(mechanisms, name) {
			return name, nil
		}
		return "", faultf(DidYouMean(strings.ToUpper(s), mechanisms), "%q is no mechanism that there is", clip(s))
	})

// loginSettings are those that say how clients log in, and what is done about those who
// guess.
var loginSettings = []setting{
	{
		key:    "listener.auth_mechanisms",
		value:  list(mechanism, func(f fields) *[]string { return &f.listener.AuthMechanisms }, mechanisms...),
		effect: AtReload,
		text: "How clients can log in. Each mechanism is offered only where one of `auth_sources` can verify what it shows, `EXTERNAL` only to a client with a certificate, and `SCRAM-SHA-256-PLUS` only with TLS. " +
			"[authentication.md](authentication.md#mechanisms) tells what each is.",
		see: []string{"listener.auth", "listener.auth_sources"},
	},
	{
		key:     "listener.auth_sources",
		value:   passages("names", func(f fields) *[]Text { return &f.listener.AuthSources }, "directory"),
		effect:  AtReload,
		example: `["directory", "company"]`,
		text: "Who verifies the clients, in order: `directory`, and others by the names of their tables. The next one is asked only when the user is unknown to one; when a source does not answer, the client is told to come again (454 4.7.0). " +
			"The step `authenticate` of a handler at `auth` chooses another source for some.",
		see: []string{"listener.auth", "listener.auth_mechanisms"},
	},
	{
		key:    "listener.auth_without_tls",
		value:  one(boolean, func(f fields) *bool { return &f.listener.AuthWithoutTLS }, false),
		effect: AtReload,
		text:   "Whether clients can log in over a connection in clear. Then everybody on the way can read their passwords, and change what they send.",
		see:    []string{"listener.auth", "listener.tls_certificate"},
	},
	{
		key:    "auth.ban_after",
		value:  one(integer(0, 100_000), func(f fields) *int { return &f.config.Auth.BanAfter }, 10),
		effect: AtReload,
		text: "After how many wrong passwords within `ban_within` a network is banned: an address of IPv4, a /64 of IPv6. The same wrong password counts once. Clients that are known there go on working " +
			"([authentication.md](authentication.md#guessing)). `0`: none is banned.",
		see: []string{"auth.ban_time", "auth.never_ban"},
	},
	{
		key:    "auth.ban_within",
		value:  one(duration(time.Minute, 7*day), func(f fields) *time.Duration { return &f.config.Auth.BanWithin }, time.Hour),
		effect: AtReload,
		text:   "How long a wrong password counts, for networks and for accounts. When it changes, what was counted is forgotten.",
		see:    []string{"auth.ban_after", "auth.account_ban_after"},
	},
	{
		key:    "auth.ban_time",
		value:  one(duration(time.Minute, 31*day), func(f fields) *time.Duration { return &f.config.Auth.BanTime }, time.Hour),
		effect: AtReload,
		text:   "How long a network is banned the first time. Each ban within a month of the one before it lasts twice as long. Bans that are in force stay as they are.",
		see:    []string{"auth.ban_time_max"},
	},
	{
		key:    "auth.ban_time_max",
		value:  one(duration(time.Minute, 365*day), func(f fields) *time.Duration { return &f.config.Auth.MaxBanTime }, 7*day),
		effect: AtReload,
		text:   "The longest ban of a network.",
		see:    []string{"auth.ban_time"},
	},
	{
		key:    "auth.account_ban_after",
		value:  one(integer(0, 1_000_000), func(f fields) *int { return &f.config.Auth.AccountBanAfter }, 100),
		effect: AtReload,
		text: "After how many wrong passwords within `ban_within`, from wherever, an account is closed to clients from networks where it is not known. " +
			"A small number makes it easy for strangers to keep a user out who is on the road. `0`: none is closed.",
		see: []string{"auth.account_ban_time"},
	},
	{
		key:    "auth.account_ban_time",
		value:  one(duration(time.Minute, day), func(f fields) *time.Duration { return &f.config.Auth.AccountBanTime }, 15*time.Minute),
		effect: AtReload,
		text:   "How long an account is closed to them. It does not grow.",
		see:    []string{"auth.account_ban_after"},
	},
	{
		key:    "auth.never_ban",
		value:  list(network, func(f fields) *[]netip.Prefix { return &f.config.Auth.NeverBan }, loopback...),
		effect: AtReload,
		text: "Networks that are not banned, such as those of webmail servers and proxies, behind which many users are one client; wrong passwords from there count for the accounts alone, and are slowed all the same. " +
			"A ban that an operator has set is not for them either.",
		see: []string{"auth.ban_after"},
	},
	{
		key:    "auth.delay",
		value:  one(duration(0, 8*time.Second), func(f fields) *time.Duration { return &f.config.Auth.Delay }, time.Second),
		effect: AtReload,
		text: "How long it takes to refuse a wrong password, from the beginning of the attempt; each further one from the same network takes twice as long, up to 8 seconds. " +
			"Without it, the time that a refusal takes can tell whether there is such a user.",
		see: []string{"auth.ban_after"},
	},
}

// Login is the table [auth].
type Login struct {
	BanAfter            int // 0: never
	BanWithin           time.Duration
	BanTime, MaxBanTime time.Duration
	AccountBanAfter     int // 0: never
	AccountBanTime      time.Duration
	NeverBan            []netip.Prefix
	Delay               time.Duration
}

// checkLogin refuses what contradicts itself.
func (d *decoder) checkLogin() {
	for _, t := range d.tables["auth"] {
		c := &d.config.Auth
		at, is := t.given["ban_time_max"]
		if !is {
			at, is = t.given["ban_time"]
		}
		if is && c.MaxBanTime < c.BanTime {
			d.fault(at.value, "auth.ban_time_max", faultf("set ban_time_max to at least ban_time",
				"is %s, less than the %s of ban_time", formatDuration(c.MaxBanTime), formatDuration(c.BanTime)))
		}
	}
}

// adviseLogin warns of passwords in clear.
func (d *decoder) adviseLogin(t *table) {
	l := t.fields.listener
	at, is := t.given["auth_without_tls"]
	if is && l.AuthWithoutTLS && l.Auth != AuthOff && l.Address.IsValid() && !l.Address.Addr().IsLoopback() {
		d.fault(at.value, "listener.auth_without_tls", advicef("leave it out, and set tls_certificate and tls_key",
			"lets clients send their passwords in clear: everybody on the way can read them"))
	}
}

// Package config reads Postern's configuration: one TOML file that a person
// owns and no program rewrites.
//
// Every setting is a row of the table in table.go and its like, and a field of Config. The
// row gives its type, default, range and prose; from it come the decoder, the
// defaults, docs/configuration.md, postern.example.toml and Describe. To add
// a setting, add the row and the field.
//
// The package opens nothing that a setting names: whether a certificate can
// be read or an address can be bound is found out by whoever uses it.
//
// A file that is wrong gives *Errors: all its problems at once, each with
// file, line and column, in the order of the file. A Config is whole or it is
// not there.
package config

import (
	"cmp"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"postern/internal/mail"
)

// Config is a whole configuration. What each field means is in the table;
// the comments here add what code must know.
type Config struct {
	// Files are those that were read, the first of which includes the others.
	// None for a configuration made in code, which has no Places either.
	Files []string
	// Placed has the Places of the settings that the files set, but for those of
	// tables that can be there several times, which have their own. Its Place is zero.
	Placed
	// Warnings are what is allowed but unwise, in the order of the files.
	Warnings []Problem

	Version      int
	Include      []string // as they are written, of all files
	PolicyTests  []string // patterns of the names of files
	Hostname     string   // in lower case, without a final dot
	DataDir      string
	AdminSocket  string // empty for the default; use Socket
	Postmaster   mail.Address
	OwnAddresses []netip.Addr

	Log          Log
	Listeners    []Listener // at least one, in the order of the file
	Handlers     []Handler
	Lists        []List
	BlockLists   []BlockList
	Filters      []Filter
	Rates        []Rate
	LDAP         []LDAP
	Certificates []Certificate
	Transports   []Transport
	TLSDomains   []TLSDomains
	Targets      []Target
	Routes       []Route // in the order in which they are asked
	Companies    []Company
	DKIM         DKIM
	ACME         ACME
	OIDC         []OIDC
	HTTPAuth     []HTTPAuth
	Credentials  Credentials
	Submission   Submission
	Message      Message
	Routing      Routing
	Delivery     Delivery
	Quarantine   Quarantine
	DNS          DNS
	Journal      Journal
	Pressure     Pressure
	Monitoring   Monitoring
	Admin        Admin
	Auth         Login
}

// Log is the table [log].
type Log struct {
	Level  slog.Level
	Format LogFormat
}

// LogFormat is the form of log lines.
type LogFormat string

// The forms of log lines.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Listener is one table [[listener]].
type Listener struct {
	Placed

	Name                    string // unique
	Address                 netip.AddrPort
	Trust                   []netip.Prefix
	TrustLists              []Text // names of lists of networks
	TrustGateway            bool
	Relay                   Relay
	Near                    []string // domains in lower case
	NearLists               []Text   // names of lists of domains
	RejectClients           []netip.Prefix
	RejectLists             []Text // names of lists of networks
	OverrideReject          bool
	BlockListScore          int    // 0: nobody is refused for it
	SenderAddresses         []Text // patterns and lists
	VerifySender            Verify
	VerifyFrom              Verify
	VerifyAction            VerifyAction
	VerifyRewrite           mail.Address // null: none
	Auth                    Auth
	VRFY                    VRFY
	AuthMechanisms          []string // in the order in which they are offered
	AuthSources             []Text
	AuthWithoutTLS          bool
	PercentRouting          bool
	TLSCertificate, TLSKey  string      // both or neither
	Certificates            []Text      // names; those of the store for none
	TLS                     ListenerTLS // empty for the default; use TLSMode
	TLSRequired             bool
	TLSMinVersion           TLSVersion
	TLSCiphers              []CipherSuite // none: the default; use Ciphers
	ClientCertificates      ClientCertificates
	ClientAuthorities       string // empty: none
	ProxyFrom               []netip.Prefix
	ExtensionsOff           []Extension
	AddDate, AddMessageID   Addition
	MaxConnections          int
	MaxConnectionsPerClient int
	MaxSize                 int64 // octets
	MaxRecipients           int
	MaxMessages             int
	MaxErrors               int
	CommandTimeout          time.Duration
	DataTimeout             time.Duration
	Class                   mail.Class
	BareNewline             BareNewline
	Sign                    Sign
}

// Relay says whose mail to other hosts a listener takes.
type Relay string

// The ways to relay, from the strictest.
const (
	RelayNobody    Relay = "nobody"
	RelayNear      Relay = "near"
	RelayClients   Relay = "clients"
	RelayBoth      Relay = "both"
	RelayEverybody Relay = "everybody"
)

// BareNewline is what a listener does with a CR or LF that stands alone, and with NUL.
type BareNewline string

// The ways to treat a bare CR or LF.
const (
	BareNewlineAuto   BareNewline = "auto" // repair for trusted clients, refuse for others
	BareNewlineRepair BareNewline = "repair"
	BareNewlineRefuse BareNewline = "refuse"
)

// Credentials is the table [credentials].
type Credentials struct {
	KeyFile     string // empty: credentials.key in DataDir
	Authorities string // empty: those of the system
}

// Submission is the table [submission].
type Submission struct {
	Directory     string // empty: no mail is taken by it
	MaxSize       int64  // octets
	MaxRecipients int
}

// Message is the table [message].
type Message struct {
	AddDate      bool
	AddMessageID bool
	DropFields   []string
	MaxHops      int
	// AccountInHeaders names the client's account in Received.
	AccountInHeaders bool
	ClassFromHeader  bool
}

// Delivery is the table [delivery].
type Delivery struct {
	Smarthosts            []mail.HostPort // none: directly, by MX
	SmarthostTLS, MXTLS   TLSPolicy
	Port                  int // of direct delivery
	AddressFamily         AddressFamily
	SmarthostCredential   string // the name of a record of the directory; empty: it is looked for
	Retry, RetryReports   mail.Schedule
	DelayWarning          time.Duration // 0 for none
	CopyFailures          bool
	MaxConnections        int
	MaxConnectionsPerSite int
	MaxRecipients         int
	IdleTimeout           time.Duration
	ConnectTimeout        time.Duration
	GreetingTimeout       time.Duration
	CommandTimeout        time.Duration
	DataTimeout           time.Duration
	BlockTimeout          time.Duration
	FinalTimeout          time.Duration
}

// TLSPolicy is what TLS a connection to the next server must have.
type TLSPolicy string

// The policies, from the weakest to the strongest.
const (
	TLSNone          TLSPolicy = "none"
	TLSOpportunistic TLSPolicy = "opportunistic"
	TLSRequired      TLSPolicy = "required"
	TLSVerify        TLSPolicy = "verify"
	TLSPin           TLSPolicy = "pin" // not of [delivery]
)

// AddressFamily says which addresses of a server are tried first.
type AddressFamily string

// The families that can be first.
const (
	AnyFamily AddressFamily = "any"
	IPv4First AddressFamily = "ipv4"
	IPv6First AddressFamily = "ipv6"
)

// Quarantine is the table [quarantine].
type Quarantine struct {
	Keep        time.Duration // 0 for ever
	DigestTo    mail.Address  // null: there is no digest
	DigestEvery time.Duration
}

// DNS is the table [dns].
type DNS struct {
	Servers []netip.AddrPort // none: those of the machine
	Timeout time.Duration
}

// Journal is the table [journal].
type Journal struct {
	MaxFile int64 // octets
	Keep    int   // 0 for all
}

// Pressure is the table [pressure].
type Pressure struct {
	MinFreeSpace  int64 // octets
	MinFreeInodes int   // 0 for none
	MaxMemory     int64 // octets; 0 for the default, which depends on the machine
	SlowCommit    time.Duration
}

// Monitoring is the table [monitoring].
type Monitoring struct {
	Address netip.AddrPort // the zero one for none
}

// Admin is the table [admin].
type Admin struct {
	Address                netip.AddrPort // the zero one: none
	Tokens                 Secret         // set if Address is
	TLSCertificate, TLSKey string         // both or neither
}

// Default returns a configuration with every default set. What has none is
// empty: Hostname, DataDir, Postmaster and Listeners.
func Default() *Config {
	c := &Config{}
	for i := range sections {
		if s := &sections[i]; !s.repeated() {
			s.reset(fields{config: c})
		}
	}
	return c
}

// DefaultListener returns a listener with every default set. Its Address has
// none.
func DefaultListener() Listener { return defaultTable[Listener]("listener") }

// CredentialsKey returns the path of the key file of credentials.
func (c *Config) CredentialsKey() string {
	if c.Credentials.KeyFile != "" {
		return c.Credentials.KeyFile
	}
	return filepath.Join(c.DataDir, "credentials.key")
}

// Socket returns the path of the admin socket: AdminSocket, or admin.sock in
// DataDir.
func (c *Config) Socket() string {
	if c.AdminSocket != "" {
		return c.AdminSocket
	}
	return filepath.Join(c.DataDir, "admin.sock")
}

// usualDataDir is where the package has its data.
const usualDataDir = "/var/lib/postern"

// likelySocket is Socket for a configuration that could not be read whole.
func (c *Config) likelySocket() string {
	guess := *c
	guess.DataDir = cmp.Or(c.DataDir, usualDataDir)
	return guess.Socket()
}

// Package admin is all that an operator can do to a running Postern: look at
// its state, its queue and its journal, and stop it. It is JSON over HTTP on
// a Unix socket that only its owner may open; Client is the other end.
//
// Errors are problem documents (RFC 9457); the client turns them back into a
// *Problem. docs/admin.md describes the API for other clients, and
// docs/openapi.json does so for programs.
package admin

import (
	"context"
	"time"

	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/quarantine"
	"postern/internal/queue"
)

// Status is the state of the server at a glance.
type Status struct {
	Version  string    `json:"version"`
	Hostname string    `json:"hostname"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	DataDir  string    `json:"data_dir"`
	// Generation counts the configurations that were in force, and Loaded is
	// when the one that is was read.
	Generation uint64    `json:"generation"`
	Loaded     time.Time `json:"loaded"`
	// ReloadFailure is the last reload, if it failed.
	ReloadFailure *ReloadFailure `json:"reload_failure,omitempty"`
	LogLevel      LogLevel       `json:"log_level"`
	// Listeners are the listeners in the order of the configuration, and then
	// those that are closed and still have clients.
	Listeners []Listener `json:"listeners"`
	// Recipients counts those in the queue, by state.
	Recipients map[mail.State]int `json:"recipients"`
	// Waiting counts those that are queued or deferred, by the name of their class.
	Waiting map[string]int `json:"waiting"`
	// Quarantine is what is in quarantine, as counted a moment ago.
	Quarantine quarantine.Census `json:"quarantine"`
	// Active is how many deliveries are being attempted now.
	Active int `json:"active"`
	// DamagedFiles are files of the store that were found damaged since the
	// start.
	DamagedFiles []string `json:"damaged_files,omitempty"`
	// JournalError says why the journal cannot be written at present; empty
	// while it can. Facts wait in the queue meanwhile.
	JournalError string `json:"journal_error,omitempty"`
	// Directory is how many records there are.
	Directory RecordCounts `json:"directory"`
	// Sites is how the sites stand.
	Sites SiteSummary `json:"sites"`
	// Suspensions are what is suspended.
	Suspensions []Suspension `json:"suspensions,omitempty"`
	// Edit is the edit of the queue that is under way.
	Edit *queue.Editing `json:"edit,omitempty"`
	// Pressures are what the server runs short of at present.
	Pressures []Pressure `json:"pressures,omitempty"`
	// Warnings are what an operator should know, a line each: lists whose files are
	// wrong, block lists that are left out, clients that are not trusted because
	// everybody may appear with their address.
	Warnings []string `json:"warnings,omitempty"`
}

// RecordCounts is how many records the directory has.
type RecordCounts struct {
	Users   int `json:"users"`
	Domains int `json:"domains"`
	Aliases int `json:"aliases"`
	Lists   int `json:"lists"`
	Bans    int `json:"bans"` // that have not ended
	// Credentials are those by which this server logs in to others.
	Credentials int `json:"credentials"`
}

// Pressure is something that the server runs short of.
type Pressure struct {
	Kind  string    `json:"kind"` // disk, inodes, memory, journal, store or slow
	Since time.Time `json:"since"`
	// Text has the figures.
	Text string `json:"text"`
}

// Listener is one listener and its load.
type Listener struct {
	Name        string        `json:"name"`
	Address     string        `json:"address"`
	State       ListenerState `json:"state"`
	Connections int           `json:"connections"`
	// Limit is how many clients are served at present: MaxConnections, or
	// fewer while the disk is slow.
	Limit          int `json:"limit"`
	MaxConnections int `json:"max_connections"`
	// TLS is how it does TLS: none, starttls or implicit; empty for one that is no
	// longer configured. TLSRequired says that nobody sends in clear.
	TLS         string `json:"tls,omitempty"`
	TLSRequired bool   `json:"tls_required,omitempty"`
	// ClientCertificates is what it wants of those of its clients: ignore, accept or
	// require.
	ClientCertificates string `json:"client_certificates,omitempty"`
	// Auth is for what an account is needed, as the setting auth says.
	Auth string `json:"auth,omitempty"`
	// Extensions are what EHLO offers, with the values that it has; AUTH is not among
	// them.
	Extensions []string `json:"extensions,omitempty"`
	// ProxyFrom are the networks of the proxies before it.
	ProxyFrom []string `json:"proxy_from,omitempty"`
	// Unsafe says for which old clients it is less strict than it should be, each as a
	// clause.
	Unsafe []string `json:"unsafe,omitempty"`
}

// JournalQuery selects facts.
type JournalQuery struct {
	// Message selects the facts of a message, and of reports about it.
	Message mail.ID
	// From and To select by sender and recipient, in which "*" stands for
	// anything; Reasons and Since by what happened, and not before when. What is
	// not set selects all.
	From, To string
	Reasons  []mail.Reason
	Since    time.Time
	// Last is how many of the last facts; 0 means all, and less than 0 none,
	// for one who wants only what follows. At most MaxLast.
	Last int
	// Follow goes on with what happens from now.
	Follow bool
}

// Query is the same for the journal itself.
func (q *JournalQuery) Query() journal.Query {
	return journal.Query{Message: q.Message, From: q.From, To: q.To, Reasons: q.Reasons, Since: q.Since, Last: q.Last}
}

// Maintainer is what a store says of itself beside what is in it.
type Maintainer interface {
	// Stat tells what the store takes and holds.
	Stat(ctx context.Context) (queue.Stat, error)
	// Verify reads everything and checks it; progress is told meanwhile.
	Verify(ctx context.Context, progress func(queue.Progress)) (queue.Verified, error)
}

// Store is what a server wants of its store beside what is in it.
type Store interface {
	Maintainer
	// DamagedFiles are the files that were found damaged since the start.
	DamagedFiles() []string
}

// VerifyLine is a line of the answer to a verification: one of its members is
// set.
type VerifyLine struct {
	Progress *queue.Progress `json:"progress,omitempty"`
	Verified *queue.Verified `json:"verified,omitempty"` // in the last line
	Problem  *Problem        `json:"problem,omitempty"`  // likewise
}

// What the server holds in memory for one answer is bounded: MaxPage is the
// most entries that a list which is no stream returns, MaxLast the most facts
// to look back for.
const (
	MaxPage = 1000
	MaxLast = journal.MaxLast
)

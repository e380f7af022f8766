package daemon

import (
	"context"
	"math"

	"postern/internal/auth"
	"postern/internal/blocklist"
	"postern/internal/credentials"
	"postern/internal/deliver"
	"postern/internal/directory"
	"postern/internal/httpauth"
	"postern/internal/intake"
	"postern/internal/ldap"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/metrics"
	"postern/internal/oidc"
	"postern/internal/policy"
	"postern/internal/pool"
	"postern/internal/pressure"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
	"postern/internal/senders"
	"postern/internal/smtpclient"
	"postern/internal/smtpserver"
)

// counts are the metrics of the process. They last as long as it does.
type counts struct {
	set         *metrics.Set
	server      *smtpserver.Metrics
	intake      *intake.Metrics
	store       *embedded.Metrics
	deliver     *deliver.Metrics
	client      *smtpclient.Metrics
	pool        *pool.Metrics
	lists       *lists.Metrics
	blockLists  *blocklist.Metrics
	policy      *policy.Metrics
	oidc        *oidc.Metrics
	httpAuth    *httpauth.Metrics
	directory   *directory.Metrics
	auth        *auth.Metrics
	senders     *senders.Metrics
	ldap        *ldap.Metrics
	credentials *credentials.Metrics
}

// newCounts declares all metrics. Some are read from the parts of d, once these
// are there.
func newCounts(d *Daemon) counts {
	s := metrics.NewSet()
	s.Info("postern_info", "Always 1; the label is the version of the program.", "version", d.Version)
	c := counts{
		set:         s,
		server:      smtpserver.NewMetrics(s),
		intake:      intake.NewMetrics(s),
		store:       embedded.NewMetrics(s),
		deliver:     deliver.NewMetrics(s),
		client:      smtpclient.NewMetrics(s),
		pool:        pool.NewMetrics(s),
		lists:       lists.NewMetrics(s),
		blockLists:  blocklist.NewMetrics(s),
		policy:      policy.NewMetrics(s),
		oidc:        oidc.NewMetrics(s),
		httpAuth:    httpauth.NewMetrics(s),
		ldap:        ldap.NewMetrics(s),
		directory:   directory.NewMetrics(s),
		auth:        auth.NewMetrics(s),
		senders:     senders.NewMetrics(s),
		credentials: credentials.NewMetrics(s),
	}
	s.ReadGauge("postern_lists_stale", "Lists whose files cannot be used at present, so that what they said before is in force.",
		func() float64 { return float64(len(d.inForce().lists.Stale())) })
	s.ReadGauge("postern_block_lists_left_out", "Block lists that are not asked for a while, because they failed or listed everybody.",
		func() float64 { return float64(len(d.inForce().blockLists.Out())) })
	s.ReadGauge("postern_web_sources_down", "Issuers of tokens, and services that are asked about passwords, that do not answer. `postern status` names them. An issuer whose keys are known is among them, though its tokens are still verified.",
		func() float64 { return d.inForce().web.down() })
	d.logins.hasher.Watch(s)
	s.ReadNamed("postern_certificate_expiry_timestamp_seconds", "When a certificate ends, in seconds since 1970, by its name. Clients that verify it send nothing after that.",
		"certificate", func() map[string]float64 { return d.inForce().ends() })
	s.ReadGauge("postern_ldap_servers_down", "Servers of directories that are asked by LDAP, and do not answer as they should. They are left alone for up to a minute.", d.ldapServersDown)
	d.readQueue(s)
	d.readDirectory(s)
	d.readJournal(s)
	s.ReadGauge("postern_sites_down", "Sites (next servers) that could not be reached several times in a row, and are left alone for a while. Their mail waits.",
		func() float64 { return float64(d.deliverer.SitesDown()) })
	s.ReadNamed("postern_transport_sites_down", "Sites of a transport that could not be reached several times in a row, and are left alone for a while. Their mail waits.",
		"transport", d.ofTransports(func(u deliver.TransportUse) int { return u.Down }))
	s.ReadNamed("postern_transport_connections", "Connections to the servers of a transport, those included that are kept for the next message.",
		"transport", d.ofTransports(func(u deliver.TransportUse) int { return u.Connections }))
	s.ReadGauge("postern_credentials_failing", "Credentials with which this server cannot log in at others at present: a server refuses one, its issuer of tokens does, or the key file cannot be used. Mail that needs one waits; `postern status` names them.",
		func() float64 { return float64(d.credentials.Failing()) })
	s.ReadGauges("postern_targets", "Target servers of all pools, by how they stand. To one that was drained no mail goes, whatever else.",
		metrics.Label{Name: "state", Values: []string{string(pool.Unknown), string(pool.Active), string(pool.NotUsable), "drained"}},
		func(state string) float64 { return float64(d.pools.Count()[state]) })
	s.ReadGauges("postern_pressure", "1 while something runs short, by what; under all kinds but slow no mail is taken, under slow fewer clients are served.",
		metrics.Label{Name: "kind", Values: kindNames()}, d.pressed)
	s.Process()
	return c
}

// ofTransports reads a number of each transport.
func (d *Daemon) ofTransports(number func(deliver.TransportUse) int) func() map[string]float64 {
	return func() map[string]float64 {
		read := make(map[string]float64)
		for name, use := range d.deliverer.TransportUses() {
			read[name] = float64(number(use))
		}
		return read
	}
}

// readQueue declares what the store says of itself.
func (d *Daemon) readQueue(s *metrics.Set) {
	s.ReadGauges("postern_queue_recipients", "Recipients in the queue, by state. Held ones wait for an operator; dead letters are among them.",
		metrics.Label{Name: "state", Values: []string{string(mail.Queued), string(mail.Deferred), string(mail.Held)}}, d.recipients)
	s.ReadGauges("postern_queue_waiting_recipients", "Recipients that are queued or deferred, by the priority class of their mail.",
		metrics.Label{Name: "class", Values: []string{mail.Bulk.String(), mail.Normal.String(), mail.Urgent.String()}}, d.waiting)
	s.ReadGauge("postern_queue_oldest_seconds", "Age of the oldest message with a recipient that is queued or deferred; 0 if there is none. Nothing is known (NaN) if more than 10,000 older ones are held.",
		d.oldest)
	s.ReadGauge("postern_quarantine_messages", "Messages in quarantine, as counted a moment ago. They wait for a person until quarantine.keep is over.",
		func() float64 { return float64(d.keeper.Census().Messages) })
	s.ReadGauges("postern_store_bytes", "Size of the queue on the disk, by part: the database, and the contents beside it.",
		metrics.Label{Name: "part", Values: []string{"database", "contents"}}, d.size)
	s.ReadGauge("postern_damaged_files", "Files of the queue in which damage was found. `postern status` names them.",
		func() float64 { return float64(len(d.store.DamagedFiles())) })
}

// waiting is how many recipients of a class are queued or deferred.
func (d *Daemon) waiting(name string) float64 {
	class, err := mail.ParseClass(name)
	if err != nil {
		return 0
	}
	return float64(d.store.Classes()[class])
}

// readDirectory declares what the directory says of itself.
func (d *Daemon) readDirectory(s *metrics.Set) {
	s.ReadGauges("postern_directory_records", "Records of the directory, by what they are. Bans that have ended are not among them.",
		metrics.Label{Name: "kind", Values: []string{"user", "domain", "alias", "list", "ban", "credential"}}, func(kind string) float64 {
			return float64(countOf(d.directory.Counts(), directory.Kind(kind)))
		})
	s.ReadGauge("postern_directory_trapped_domains", "Local domains whose mail the world sends elsewhere, by their MX records: what this server is given for them is trapped here. `postern status` names them.",
		func() float64 { return float64(len(d.trapped.list())) })
}

func countOf(c directory.Counts, k directory.Kind) int {
	switch k {
	case directory.KindUser:
		return c.Users
	case directory.KindDomain:
		return c.Domains
	case directory.KindAlias:
		return c.Aliases
	case directory.KindList:
		return c.Lists
	case directory.KindCredential:
		return c.Credentials
	}
	return c.Bans
}

// readJournal declares what the journal says of itself.
func (d *Daemon) readJournal(s *metrics.Set) {
	s.ReadGauge("postern_journal_lag_facts", "Facts that are in the queue and not yet in the journal. It grows while the journal cannot be written.",
		func() float64 {
			copied := d.journal.Last(queue.FactSource)
			return max(0, float64(d.store.LastFact())-float64(copied))
		})
	s.ReadCounter("postern_journal_lost_facts_total", "Facts about refusals and the like that were counted and not written, because there were too many at once.",
		func() float64 { return float64(d.journal.Lost()) })
}

func (d *Daemon) size(part string) float64 {
	size, err := d.store.Size(context.Background())
	switch {
	case err != nil:
		return math.NaN()
	case part == "database":
		return float64(size.Database)
	}
	return float64(size.Bodies)
}

func (d *Daemon) recipients(state string) float64 {
	counts, err := d.store.Count(context.Background(), queue.Filter{})
	if err != nil {
		return math.NaN()
	}
	return float64(counts[mail.State(state)])
}

func (d *Daemon) oldest() float64 {
	total, err := d.store.Count(context.Background(), queue.Filter{})
	if err == nil && total[mail.Queued]+total[mail.Deferred] == 0 {
		return 0
	}
	accepted, err := d.store.Oldest(context.Background())
	if err != nil || accepted.IsZero() {
		return math.NaN()
	}
	return max(0, d.clock.Now().Sub(accepted).Seconds())
}

func kindNames() []string {
	var names []string
	for _, k := range pressure.Kinds {
		names = append(names, string(k))
	}
	return names
}

func (d *Daemon) pressed(kind string) float64 {
	for _, p := range d.gauge.Pressures() {
		if string(p.Kind) == kind {
			return 1
		}
	}
	return 0
}

// Metrics describes what a server counts, for the page about it.
func Metrics() []metrics.Description { return newDescribed().set.Descriptions() }

// newDescribed returns counts of which nothing can be read.
func newDescribed() counts { return newCounts(&Daemon{}) }

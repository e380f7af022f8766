package smtpserver

import (
	"postern/internal/mail"
	"postern/internal/metrics"
)

// Metrics are what all servers of a process count together. Make them once, with
// NewMetrics.
type Metrics struct {
	sessions    *metrics.Counter
	connections *metrics.Gauge
	secured     *metrics.Counter
	refusals    *metrics.Counters
	logins      *metrics.Counter
	unsecured   *metrics.Counter
	unproxied   *metrics.Counter
	habits      *metrics.Counters
}

// The labels of a refusal. What a client may invent counts as the last.
var (
	commandLabel = metrics.Label{Name: "command", Values: []string{
		"connect", "HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", endOfData, "other",
	}}
	classLabel = metrics.Label{Name: "class", Values: []string{"4xx", "5xx"}}
)

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		sessions:    s.Counter("postern_smtp_sessions_total", "Clients that connected, those that were turned away included."),
		connections: s.Gauge("postern_smtp_connections", "Clients that are connected."),
		secured:     s.Counter("postern_smtp_tls_total", "Sessions that came to be under TLS."),
		logins:      s.Counter("postern_smtp_auth_total", "Sessions whose client has proved who it is with AUTH."),
		unsecured:   s.Counter("postern_smtp_tls_failed_total", "TLS handshakes that failed: of clients that do not trust the certificate, that have no version or cipher in common with the server, or that are no clients."),
		unproxied:   s.Counter("postern_smtp_proxy_failed_total", "Connections from a proxy (proxy_from) that were refused because their PROXY header was missing or wrong. The proxy does not send one, or is slow."),
		habits: s.Counters("postern_smtp_old_habits_total",
			"Sessions that need what a listener is better without, by what it is: what breaks when the listener becomes strict.", habitLabel),
		refusals: s.Counters("postern_smtp_refused_total",
			"Replies that refused something, by the command (connect: the client as a whole; end of data: the content) and the class of the code: 4xx may succeed later, 5xx will not.",
			commandLabel, classLabel),
	}
}

// refused counts a refusal.
func (m *Metrics) refused(command string, r mail.Reply) {
	class := "5xx"
	if r.Temporary() {
		class = "4xx"
	}
	m.refusals.Add(1, command, class)
}

// connected counts a client, until what it returns is called.
func (m *Metrics) connected() (gone func()) {
	m.sessions.Add(1)
	m.connections.Add(1)
	return func() { m.connections.Add(-1) }
}

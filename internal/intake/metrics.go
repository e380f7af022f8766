package intake

import (
	"postern/internal/metrics"
	"postern/internal/queue"
)

// Metrics count what was accepted by all doors of a process. Make them once, with
// NewMetrics.
type Metrics struct {
	messages, recipients, octets *metrics.Counter
}

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	return &Metrics{
		messages:   s.Counter("postern_accepted_messages_total", "Messages accepted: stored before the sender was told so. Reports of our own are not among them."),
		recipients: s.Counter("postern_accepted_recipients_total", "Recipients of the messages accepted."),
		octets:     s.Counter("postern_accepted_bytes_total", "Size of the messages accepted."),
	}
}

// accepted counts an entry whose content has so many octets.
func (m *Metrics) accepted(e *queue.Entry, size int64) {
	n := 0
	for i := range e.Deliveries {
		n += len(e.Deliveries[i].Recipients)
	}
	m.message(n, size)
}

// message counts a message with its recipients, of whatever entries.
func (m *Metrics) message(recipients int, size int64) {
	m.messages.Add(1)
	m.recipients.Add(int64(recipients))
	m.octets.Add(size)
}

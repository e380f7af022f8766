package senders

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"time"

	"postern/internal/intake"
	"postern/internal/smtp"
)

// Habit is something that a source does and that may be refused one day.
type Habit string

// The habits that a message shows; they have the names that the metric
// postern_smtp_old_habits_total has for them.
const (
	HabitHELO        Habit = "helo"
	HabitTLS10       Habit = "tls1.0"
	HabitTLS11       Habit = "tls1.1"
	HabitCipher      Habit = "weak_cipher"
	HabitClearAuth   Habit = "auth_in_clear"
	HabitBareNewline Habit = "bare_newline"
)

// What a certificate is that ends, which is no habit.
const (
	CertificateExpired Habit = "certificate_expired"
	CertificateExpires Habit = "certificate_expires"
)

// habits are those that a message shows, in the order of shown, with what stops to work when.
var habits = [...]struct {
	habit Habit
	text  string
}{
	{HabitHELO, "says HELO and not EHLO: it can neither begin TLS nor authenticate, and is out when its listener wants either"},
	{HabitTLS10, "uses TLS 1.0: it is out when tls_min_version of its listener goes to 1.1 or 1.2"},
	{HabitTLS11, "uses TLS 1.1: it is out when tls_min_version of its listener goes to 1.2"},
	{HabitCipher, "uses a weak cipher suite: it is out when tls_ciphers of its listener has safe ones alone"},
	{HabitClearAuth, "shows its password or token in clear: it is out when auth_without_tls of its listener is off"},
	{HabitBareNewline, "ends lines with a bare CR or LF, or sends NUL, which was repaired: it is out when bare_newline of its listener is refuse, or it is no longer trusted"},
}

// shown says which habits a message shows.
func shown(m *intake.Sent) [len(habits)]bool {
	return [...]bool{
		m.Origin.Protocol == smtp.ProtocolSMTP,
		hasTLS(m, "TLS 1.0"),
		hasTLS(m, "TLS 1.1"),
		m.Origin.TLS != nil && weakCiphers[m.Origin.TLS.Cipher],
		showsSecret(m),
		m.Repaired,
	}
}

func hasTLS(m *intake.Sent, version string) bool {
	return m.Origin.TLS != nil && m.Origin.TLS.Version == version
}

// showsSecret reports whether whoever listens on the wire can log in too.
func showsSecret(m *intake.Sent) bool {
	if m.Origin.TLS != nil || m.Origin.Account == nil {
		return false
	}
	switch m.Origin.Account.Mechanism {
	case "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2":
		return true
	}
	return false
}

// weakCiphers are those with a weakness that is known.
var weakCiphers = func() map[string]bool {
	names := map[string]bool{}
	for _, suite := range tls.InsecureCipherSuites() {
		names[suite.Name] = true
	}
	return names
}()

// count is how many messages have shown a habit, and the last of them when.
type count struct {
	Messages int64     `json:"messages"`
	Last     time.Time `json:"last"`
}

// habitCounts are those of habits, in its order.
type habitCounts [len(habits)]count

func (h *habitCounts) note(m *intake.Sent) {
	for i, is := range shown(m) {
		if is {
			h[i].Messages++
			h[i].Last = m.At
		}
	}
}

// IsZero reports whether there is none.
func (h habitCounts) IsZero() bool { return h == habitCounts{} }

// MarshalJSON writes those that there are, by name.
func (h habitCounts) MarshalJSON() ([]byte, error) {
	named := map[Habit]count{}
	for i, c := range h {
		if c.Messages > 0 {
			named[habits[i].habit] = c
		}
	}
	return json.Marshal(named)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *habitCounts) UnmarshalJSON(text []byte) error {
	var named map[Habit]count
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	for i := range habits {
		h[i] = named[habits[i].habit]
	}
	return nil
}

// Risk is what stops to work when an old way is closed, or a certificate ends.
type Risk struct {
	Habit Habit `json:"habit"`
	// Text says when it stops.
	Text string `json:"text"`
	// Messages have shown it since the source was seen first, the last of them at Last;
	// nothing for a certificate.
	Messages int64     `json:"messages,omitempty"`
	Last     time.Time `json:"last,omitzero"`
}

const (
	// riskFor is for how long a habit is told that was not seen again.
	riskFor = 30 * 24 * time.Hour
	// expiresSoon is how long before its end a certificate is told.
	expiresSoon = 30 * 24 * time.Hour
)

// risks are what will break next, as it is known at a time.
func (d *details) risks(now time.Time) []Risk {
	var list []Risk
	for i, c := range d.Habits {
		if c.Messages > 0 && now.Sub(c.Last) <= riskFor {
			list = append(list, Risk{habits[i].habit, habits[i].text, c.Messages, c.Last})
		}
	}
	if d.Certificate == nil || d.Certificate.Expires.IsZero() {
		return list
	}
	ends := d.Certificate.Expires
	switch at := ends.UTC().Format(time.RFC3339); {
	case !now.Before(ends):
		list = append(list, Risk{Habit: CertificateExpired, Text: fmt.Sprintf("its certificate has expired at %s: it is out when its listener verifies certificates", at)})
	case ends.Sub(now) < expiresSoon:
		list = append(list, Risk{Habit: CertificateExpires, Text: fmt.Sprintf("its certificate expires at %s", at)})
	}
	return list
}

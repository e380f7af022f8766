package smtpserver

import (
	"crypto/tls"

	"postern/internal/metrics"
	"postern/internal/smtp"
)

// habit is something that a client does or needs and that a listener is better
// without: old devices cannot be changed, and an administrator wants to know how many
// of them are left.
type habit uint8

const (
	habitHELO      habit = iota
	habitTLS10           // TLS 1.0
	habitTLS11           // TLS 1.1
	habitCipher          // a cipher suite that is not safe
	habitClearAuth       // AUTH in clear
	habitBareNewline
	habits // how many there are
)

// habitLabel names them in their order.
var habitLabel = metrics.Label{Name: "habit", Values: []string{"helo", "tls1.0", "tls1.1", "weak_cipher", "auth_in_clear", "bare_newline"}}

// notes are the habits that a session has shown.
type notes [habits]bool

// note counts a habit, once in a session.
func (s *session) note(h habit) {
	if !s.noted[h] {
		s.noted[h] = true
		s.options.Metrics.habits.Add(1, habitLabel.Values[h])
	}
}

// noteTLS counts what a handshake had to be content with.
func (s *session) noteTLS(state tls.ConnectionState) {
	switch state.Version {
	case tls.VersionTLS10:
		s.note(habitTLS10)
	case tls.VersionTLS11:
		s.note(habitTLS11)
	}
	for _, suite := range tls.InsecureCipherSuites() {
		if suite.ID == state.CipherSuite {
			s.note(habitCipher)
		}
	}
}

// noteContent counts content that had to be repaired.
func (s *session) noteContent(data *smtp.DataReader) {
	if data.Repaired() && data.Err() == nil {
		s.note(habitBareNewline)
	}
}

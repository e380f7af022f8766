package mail

// TLSPolicy is what was demanded of TLS on a connection to the next server, and why
// what there was is good enough, or is not.
type TLSPolicy struct {
	// Level is how much was demanded: none, opportunistic, required, verify, pin.
	Level string `json:"level"`
	// Source says who demanded it: a setting with its place, or the message.
	Source string `json:"source,omitempty"`
	// Met says that there is what was demanded.
	Met bool `json:"met"`
	// Because says why it is met, or why it is not.
	Because string `json:"because,omitempty"`
	// Trust is whose authorities the certificate was verified by: "system", or a file. It is
	// set when that was asked, whatever came of it.
	Trust string `json:"trust,omitempty"`
	// Name is the one for which the certificate is good.
	Name string `json:"name,omitempty"`
	// Pin is the one that matched.
	Pin string `json:"pin,omitempty"`
	// Certificate is what the certificate is called that this server showed; empty when it was
	// not asked for one, or has none.
	Certificate string `json:"certificate,omitempty"`
}

// String returns it for people: "verify (transport partners, postern.toml:12): the certificate
// is for mx.example, ...".
func (p *TLSPolicy) String() string {
	s := p.Level
	if p.Source != "" {
		s += " (" + p.Source + ")"
	}
	if !p.Met {
		s += " is not met"
	}
	if p.Because != "" {
		s += ": " + p.Because
	}
	if p.Pin != "" {
		s += ", " + p.Pin
	}
	if p.Certificate != "" {
		s += "; the certificate " + p.Certificate + " was shown"
	}
	return s
}

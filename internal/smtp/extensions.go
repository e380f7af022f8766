package smtp

import (
	"strconv"
	"strings"
)

// Extensions are the service extensions that a reply to EHLO offers. The
// zero value is a server, or a client that said HELO, without extensions.
type Extensions struct {
	Pipelining          bool // RFC 2920
	EightBitMIME        bool // RFC 6152
	SMTPUTF8            bool // RFC 6531
	DSN                 bool // RFC 3461
	EnhancedStatusCodes bool // RFC 2034
	Chunking            bool // RFC 3030
	StartTLS            bool // RFC 3207
	RequireTLS          bool // RFC 8689: under TLS only
	Help                bool // RFC 5321 4.1.1.8
	// Auth are the mechanisms of AUTH (RFC 4954); none when it is not offered.
	Auth Mechanisms
	// HasSize says that SIZE is offered (RFC 1870); MaxSize is the largest
	// message in octets, 0 when no limit was stated.
	HasSize bool
	MaxSize int64
	// MaxRecipients and MaxMessages are RCPTMAX and MAILMAX of LIMITS
	// (RFC 9422): recipients in one transaction, transactions in one
	// session. 0 means that no limit was stated.
	MaxRecipients int
	MaxMessages   int
}

// Without returns the extensions without some, by their keywords in capitals. A keyword that
// is not known is passed over.
func (e Extensions) Without(keywords []string) Extensions {
	for _, k := range keywords {
		switch k {
		case "PIPELINING":
			e.Pipelining = false
		case "8BITMIME":
			e.EightBitMIME = false
		case "SMTPUTF8":
			e.SMTPUTF8 = false
		case "DSN":
			e.DSN = false
		case "CHUNKING":
			e.Chunking = false
		case "STARTTLS":
			e.StartTLS = false
		case "SIZE":
			e.HasSize, e.MaxSize = false, 0
		}
	}
	return e
}

// Keywords returns the lines of a reply to EHLO after its first, in the
// order in which they are shown.
func (e Extensions) Keywords() []string {
	lines := make([]string, 0, 12)
	for _, k := range []struct {
		offered bool
		line    string
	}{
		{e.Pipelining, "PIPELINING"},
		{e.HasSize, e.sizeLine()},
		{e.EightBitMIME, "8BITMIME"},
		{e.SMTPUTF8, "SMTPUTF8"},
		{e.DSN, "DSN"},
		{e.EnhancedStatusCodes, "ENHANCEDSTATUSCODES"},
		{e.Chunking, "CHUNKING"},
		{e.StartTLS, "STARTTLS"},
		{e.RequireTLS, "REQUIRETLS"},
		{len(e.Auth) > 0, e.authLine()},
		{e.MaxRecipients > 0 || e.MaxMessages > 0, e.limitsLine()},
		{e.Help, "HELP"},
	} {
		if k.offered {
			lines = append(lines, k.line)
		}
	}
	return lines
}

func (e Extensions) sizeLine() string {
	if e.MaxSize <= 0 {
		return "SIZE"
	}
	return "SIZE " + strconv.FormatInt(e.MaxSize, 10)
}

func (e Extensions) authLine() string {
	if len(e.Auth) == 0 {
		return ""
	}
	return "AUTH " + strings.Join(e.Auth, " ")
}

func (e Extensions) limitsLine() string {
	line := "LIMITS"
	if e.MaxRecipients > 0 {
		line += " RCPTMAX=" + strconv.Itoa(e.MaxRecipients)
	}
	if e.MaxMessages > 0 {
		line += " MAILMAX=" + strconv.Itoa(e.MaxMessages)
	}
	return line
}

// ParseExtensions reads the text of a reply to EHLO, in which "\n" separates
// the lines and the first is a greeting. Keywords it does not know and values
// it cannot read are skipped, as RFC 5321 4.1.1.1 leaves a client no other
// choice.
func ParseExtensions(text string) Extensions {
	var e Extensions
	_, rest, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		words := strings.Fields(line)
		if len(words) > 0 {
			e.add(strings.ToUpper(words[0]), words[1:])
		}
	}
	return e
}

func (e *Extensions) add(keyword string, values []string) {
	switch keyword {
	case "PIPELINING":
		e.Pipelining = true
	case "8BITMIME":
		e.EightBitMIME = true
	case "SMTPUTF8":
		e.SMTPUTF8 = true
	case "DSN":
		e.DSN = true
	case "ENHANCEDSTATUSCODES":
		e.EnhancedStatusCodes = true
	case "CHUNKING":
		e.Chunking = true
	case "STARTTLS":
		e.StartTLS = true
	case "REQUIRETLS":
		e.RequireTLS = true
	case "HELP":
		e.Help = true
	case "AUTH":
		e.Auth = e.Auth.add(values)
	case "SIZE":
		e.addSize(values)
	case "LIMITS":
		e.addLimits(values)
	}
}

func (e *Extensions) addSize(values []string) {
	e.HasSize = true
	if len(values) == 0 {
		return
	}
	if n, err := strconv.ParseInt(values[0], 10, 64); err == nil && n > 0 {
		e.MaxSize = n
	}
}

func (e *Extensions) addLimits(values []string) {
	for _, v := range values {
		name, value, _ := strings.Cut(v, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			continue
		}
		switch strings.ToUpper(name) {
		case "RCPTMAX":
			e.MaxRecipients = n
		case "MAILMAX":
			e.MaxMessages = n
		}
	}
}

// Package explain tells what would become of a message that was never sent: which
// handlers it would meet at each command, why each was chosen or not, what the
// client would be told, and where the mail would go.
//
// It decides nothing itself. A Walk is a session at the real door (package intake)
// under the real policy, before a store that keeps nothing: so what it tells cannot
// differ from what happens. Only what would leave a trace is left out: limits are
// not counted, nothing is logged, and block lists are asked only if they are given
// to policy. What an SMTP server asks of a client before it asks the door, such as
// the syntax of a command, is not asked here, but for the size of a message and the
// number of recipients.
package explain

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"postern/internal/config"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/policy"
)

// Server is what a message would come to.
type Server struct {
	Engine *policy.Engine
	// Door are the options of the way in; what would keep something (Store, IDs,
	// Policy, Logger, Metrics) is replaced.
	Door intake.Options
	// Listeners are those of the network, in their order.
	Listeners []config.Listener
	// Sendmail takes the mail of programs of this host; its name is SendmailListener.
	Sendmail config.Submission
	// Account returns the account of a name, and whether there is one that may log in.
	// Nil: there is none.
	Account func(name string) (mail.Principal, bool)
	// Route says how mail for a destination leaves, as far as that is known without
	// asking anybody.
	Route func(sender mail.Address, to mail.Destination) string
	// Router says by which way mail goes, and why. Nil: that is not told.
	Router Router
	// Outgoing says how it goes there.
	Outgoing Outgoing
	// Resolve says that Walk asks DNS for the servers.
	Resolve bool
	// Signatures says who signs a message with a sender that somebody has brought, and what
	// others will find of that, a line each. Nil: nothing is said of it.
	Signatures func(ctx context.Context, m Leaving) []string
	// OffersRequireTLS says whether a listener offers REQUIRETLS under TLS. Nil: none does.
	OffersRequireTLS func(listener string) bool
	// BlockLists says that policy can ask block lists.
	BlockLists bool
}

// Leaving is a message as it leaves.
type Leaving struct {
	Origin  *mail.Origin
	Sender  mail.Address
	Content io.ReaderAt
	Size    int64
}

// SendmailListener is the listener of mail from programs of this host.
const SendmailListener = "sendmail"

// Mail is a message that was never sent, and how it would come.
type Mail struct {
	Listener string         // empty: the first
	Client   netip.AddrPort // not for sendmail; port 0 for some port
	Hello    string         // what EHLO says; empty: the client's address
	User     string         // who has authenticated, or sends by sendmail
	TLS      string         // its version, such as "TLS 1.3"; empty in clear
	From     mail.Address
	To       []mail.Address
	// RequireTLS says that the client demands TLS on the whole way (REQUIRETLS, RFC 8689).
	RequireTLS bool
	// Content has any line ends. Nil: a message of a few lines is made up.
	Content []byte
}

// somePort is the port of a client of which none is known: one of those that systems
// choose for whoever connects.
const somePort = 49152

// listener is what of a listener matters here.
type listener struct {
	name          string
	address       netip.AddrPort
	maxSize       int64
	maxRecipients int
}

// listener returns the listener of a message.
func (s *Server) listener(m *Mail) (*listener, error) {
	if m.Listener == SendmailListener {
		return &listener{name: SendmailListener, maxSize: s.Sendmail.MaxSize, maxRecipients: s.Sendmail.MaxRecipients}, nil
	}
	var names []string
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if m.Listener == "" || l.Name == m.Listener {
			return &listener{name: l.Name, address: l.Address, maxSize: l.MaxSize, maxRecipients: l.MaxRecipients}, nil
		}
		names = append(names, l.Name)
	}
	names = append(names, SendmailListener)
	return nil, fmt.Errorf("there is no listener %q; there are %s", m.Listener, strings.Join(names, ", "))
}

// origin is how a message comes: as its client has connected, without its EHLO.
func (m *Mail) origin(l *listener) mail.Origin {
	o := mail.Origin{Listener: l.name, Session: "explained"}
	if l.name == SendmailListener {
		o.User = &mail.User{Name: m.User}
		return o
	}
	o.Client, o.Local = m.Client, l.address
	if o.Client.Port() == 0 {
		o.Client = netip.AddrPortFrom(o.Client.Addr(), somePort)
	}
	return o
}

// hello is what the client calls itself.
func (m *Mail) hello() string {
	switch {
	case m.Hello != "":
		return m.Hello
	case !m.Client.IsValid():
		return "localhost"
	case m.Client.Addr().Is6():
		return "[IPv6:" + m.Client.Addr().WithZone("").String() + "]"
	}
	return "[" + m.Client.Addr().String() + "]"
}

// ciphers are those that clients and this server agree on most often.
var ciphers = map[string]string{"TLS 1.3": "TLS_AES_128_GCM_SHA256", "TLS 1.2": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}

// ParseTLS reads a version of TLS: "TLS 1.3" or "1.3", and the same with 1.2.
func ParseTLS(s string) (string, error) {
	version := "TLS " + strings.TrimSpace(strings.TrimPrefix(strings.ToUpper(s), "TLS"))
	if ciphers[version] == "" {
		return "", fmt.Errorf("%q is no version of TLS that is offered: it is 1.2 or 1.3", s)
	}
	return version, nil
}

// ParseFrom reads a sender: an address, or "<>" for the null sender.
func ParseFrom(s string) (mail.Address, error) {
	if s == "<>" || s == "" {
		return mail.Address{}, nil
	}
	return ParseTo(s)
}

// ParseTo reads a recipient: an address, in angle brackets or not, or postmaster.
func ParseTo(s string) (mail.Address, error) {
	if inner, ok := strings.CutPrefix(s, "<"); ok {
		s = strings.TrimSuffix(inner, ">")
	}
	if strings.EqualFold(s, "postmaster") { // the one recipient without a domain
		return mail.Address{Local: s}, nil
	}
	return mail.ParseAddress(s)
}

// content is what the client sends.
func (m *Mail) content() []byte {
	if m.Content == nil {
		return m.madeUp()
	}
	text := strings.ReplaceAll(string(m.Content), "\r\n", "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}

// maxContent bounds a message that is looked at, in octets.
const maxContent = 128 << 20

// ReadContent reads a message. It fails as r does, and for one of more than 128 MiB.
func ReadContent(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxContent+1))
	if err == nil && len(content) > maxContent {
		err = fmt.Errorf("the message has more than %d octets", maxContent)
	}
	return content, err
}

// madeUp is the message of which none is known but the envelope.
func (m *Mail) madeUp() []byte {
	var b strings.Builder
	if !m.From.IsNull() {
		fmt.Fprintf(&b, "From: %s\r\n", m.From)
	}
	for _, to := range m.To {
		fmt.Fprintf(&b, "To: %s\r\n", to)
		break
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// arriving is content whose client stays.
type arriving struct{ io.Reader }

// ClientGone reports false.
func (arriving) ClientGone() bool { return false }

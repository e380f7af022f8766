package explain

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/route"
)

// This file tells of the servers of a way.

// Limits bound what goes by a way at once.
type Limits struct {
	Connections int `json:"connections"` // to one site
	Recipients  int `json:"recipients"`  // of a transaction
	// Messages are those that go over one connection; 0: any number.
	Messages int `json:"messages,omitempty"`
	// Rate is how many messages go to one site in a time; empty: any number.
	Rate string `json:"rate,omitempty"`
	// Size is that of the largest message, in octets; 0: any.
	Size int64 `json:"size,omitempty"`
}

// String tells them for a person.
func (l *Limits) String() string {
	s := fmt.Sprintf("%d connections, %d recipients at a time", l.Connections, l.Recipients)
	if l.Messages > 0 {
		s += fmt.Sprintf(", %d messages over a connection", l.Messages)
	}
	if l.Rate != "" {
		s += ", messages at " + l.Rate
	}
	if l.Size > 0 {
		s += fmt.Sprintf(", %d octets in a message", l.Size)
	}
	return s
}

// Outgoing says how mail leaves, without asking anybody. Each may be nil: that is not told.
type Outgoing struct {
	// Servers returns the transport by which mail goes at first, and the servers as far as they
	// are known without DNS: without addresses, and without a name where DNS has that.
	Servers func(q route.Question) (transport string, hops []route.Hop)
	// Limits returns what bounds the mail by a transport, whose servers bear so many
	// connections; 0: that is not known.
	Limits func(transport string, bears int) Limits
	// Login returns what is shown to the server of a lane.
	Login func(l *route.Lane) Login
	// Refused returns why a credential is not shown to a host at present, as a server that runs
	// knows; "" when nothing is known against it.
	Refused func(credential, host string) string
	// Whose returns the company in whose name a sender's mail goes to a domain; "" for none.
	Whose func(sender mail.Address, domain string) string
	// LosesTLS says why a message with REQUIRETLS does not go to a server; "" if it may.
	LosesTLS func(h *route.Hop) string
}

// Login is what this server proves to another who it is with. The zero Login is nothing.
type Login struct {
	// Credential is the name of the record, and Shown all of it for people.
	Credential, Shown string
	// By is the rule by which it was found.
	By string
}

// Hop is a server of a way.
type Hop struct {
	// Server is its name, and empty where DNS was not asked for that.
	Server    string           `json:"server,omitempty"`
	Transport string           `json:"transport"`
	Addresses []netip.AddrPort `json:"addresses,omitempty"`
	// TLS is what connections must have of it, TLSBy who demands that, and TLSDemand all of it
	// for people.
	TLS       string `json:"tls"`
	TLSBy     string `json:"tls_by,omitempty"`
	TLSDemand string `json:"tls_demand,omitempty"`
	// Login is what this server proves to it who it is with, and LoginBy by which rule that
	// was found; empty for nothing.
	Login   string `json:"login,omitempty"`
	LoginBy string `json:"login_by,omitempty"`
	// Credential is the name of that, and Refused why it is not shown there at present; empty if it is, as far
	// as is known.
	Credential string `json:"credential,omitempty"`
	Refused    string `json:"refused,omitempty"`
	// Hello is the name in EHLO, where it is not the usual one, and From are the addresses
	// to connect from, where these are not for the system to choose.
	Hello string       `json:"helo,omitempty"`
	From  []netip.Addr `json:"from,omitempty"`
	// Charset is the one to which texts are converted for it; empty for any. Texts says what becomes of those of
	// the message.
	Charset string `json:"charset,omitempty"`
	Texts   string `json:"texts,omitempty"`
	// MaxMessages is how many messages go over one connection, where it has a limit of its own.
	MaxMessages int `json:"max_messages,omitempty"`
}

// texts are the content of a message, for servers that know one charset alone.
type texts []byte

// in returns the content with its texts in a charset.
func (t texts) in(charset string) (*message.Converted, error) {
	to, err := message.FormIn(charset, false)
	if err != nil {
		return nil, err
	}
	return message.Convert(bytes.NewReader(t), int64(len(t)), to)
}

// InCharset implements route.Content.
func (t texts) InCharset(_ context.Context, charset string) (size int64, err error) {
	converted, err := t.in(charset)
	if err != nil {
		return 0, err
	}
	return converted.Size(), nil
}

// told says what becomes of the texts in a charset.
func (t texts) told(charset string) string {
	converted, err := t.in(charset)
	switch {
	case err != nil:
		return "not sent there: " + err.Error()
	case converted.Recoded() == "":
		return "nothing is to be converted"
	}
	return converted.Recoded() + " converted"
}

// resolve looks the servers of a way up, and returns them.
func (s *Server) resolve(ctx context.Context, w *Way, q route.Question) []route.Hop {
	r, err := s.Router.Route(ctx, q)
	if err != nil {
		w.Error = mail.CauseText(err)
		return nil
	}
	s.tell(w, q, r)
	return r.Hops
}

// known tells of a way what is known of it without asking DNS, and returns the servers.
func (s *Server) known(w *Way, q route.Question) []route.Hop {
	if s.Outgoing.Servers == nil {
		return nil
	}
	var r route.Route
	r.Name, r.Hops = s.Outgoing.Servers(q)
	s.tell(w, q, r)
	return r.Hops
}

// keepsTLS says whether a message with REQUIRETLS can go to one of some servers.
func (s *Server) keepsTLS(hops []route.Hop) string {
	if len(hops) == 0 || s.Outgoing.LosesTLS == nil {
		return ""
	}
	able, here, why := 0, 0, ""
	for i := range hops {
		if hops[i].Socket != "" {
			here++
		}
		if lost := s.Outgoing.LosesTLS(&hops[i]); lost != "" {
			why = lost
		} else {
			able++
		}
	}
	switch {
	case here == len(hops):
		return "is kept: the message does not leave this machine"
	case able == 0:
		return "cannot be honoured, and the message comes back: " + why
	case able == len(hops):
		return "can be honoured, by servers that offer it and show a good certificate"
	}
	return fmt.Sprintf("can be honoured by %d of the %d servers, if they offer it and show a good certificate; not by others: %s", able, len(hops), why)
}

// tell notes of a way where it leads.
func (s *Server) tell(w *Way, q route.Question, r route.Route) {
	w.Transport = r.Name
	demanded := r.Demand(q.TLS)
	for i := range demanded.Hops {
		to := s.hop(&demanded.Hops[i])
		if content, given := q.Content.(texts); given && to.Charset != "" {
			to.Texts = content.told(to.Charset)
		}
		w.Hops = append(w.Hops, to)
	}
	o := &s.Outgoing
	if o.Whose != nil {
		w.Company = o.Whose(q.Sender, w.Destination.Domain())
	}
	if o.Limits != nil && r.Name != "" && !r.Discard {
		limits := o.Limits(r.Name, r.Connections)
		w.Limits = &limits
	}
}

func (s *Server) hop(h *route.Hop) Hop {
	to := Hop{
		Transport: h.Transport, Addresses: h.Addresses, TLS: string(h.TLS.Level), TLSBy: h.TLS.Source, TLSDemand: h.TLS.String(),
		Hello: h.From.Hostname, From: h.From.Sources(), MaxMessages: h.MaxMessages, Charset: h.Charset,
	}
	if h.Host != "" || h.Socket != "" {
		to.Server = mail.HostPort{Host: h.Host, Port: h.Port, Socket: h.Socket}.String()
	}
	if s.Outgoing.Login != nil {
		login := s.Outgoing.Login(&h.Lane)
		to.Login, to.LoginBy, to.Credential = login.Shown, login.By, login.Credential
	}
	if to.Credential != "" && s.Outgoing.Refused != nil {
		to.Refused = s.Outgoing.Refused(to.Credential, h.Host)
	}
	return to
}

func (p *printer) hop(h *Hop, transport string) {
	line := "  * " + h.Server
	if h.Server == "" {
		line += "the servers that DNS has for it"
	}
	addresses := make([]string, len(h.Addresses))
	for i, a := range h.Addresses {
		addresses[i] = a.String()
	}
	if len(addresses) > 0 {
		line += " at " + strings.Join(addresses, ", ")
	}
	line += "; TLS " + h.TLSDemand
	if h.Login != "" {
		line += "; shows " + h.Login
	}
	if h.LoginBy != "" {
		line += " (" + h.LoginBy + ")"
	}
	if h.Hello != "" {
		line += "; EHLO " + h.Hello
	}
	for _, from := range h.From {
		line += "; from " + from.String()
	}
	if h.Charset != "" {
		line += "; texts in " + h.Charset
		if h.Texts != "" {
			line += " (" + h.Texts + ")"
		}
	}
	if h.MaxMessages > 0 {
		line += fmt.Sprintf("; %d messages over a connection", h.MaxMessages)
	}
	if h.Transport != transport {
		line += "; by " + h.Transport
	}
	p.line("%s", line)
	if h.Refused != "" {
		p.line("    NOT AT PRESENT: credential %s %s", h.Credential, h.Refused)
	}
}

package explain

import (
	"context"
	"io"
	"strings"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/route"
)

// Router says where mail goes, and why: the table by which it does.
type Router interface {
	Explain(r mail.Routing, at mail.Destination) route.Explanation
	Route(ctx context.Context, q route.Question) (route.Route, error)
}

// RouteQuestion is a recipient whose way is asked about.
type RouteQuestion struct {
	To, From mail.Address
	User     string // the account that sends; empty: nobody has authenticated
	Listener string // empty: the first
	Tags     []string
}

// RouteReport is where the mail for a recipient goes.
type RouteReport struct {
	Address  string   `json:"address"`
	From     string   `json:"from"`
	User     string   `json:"user,omitempty"`
	Listener string   `json:"listener"`
	Tags     []string `json:"tags,omitempty"`
	// Refused is why it is accepted from nobody; nil if it is.
	Refused *mail.Reply `json:"refused,omitempty"`
	// Local says that the address is of a domain of this host.
	Local bool `json:"local,omitempty"`
	// Ways are those of the address, or of all for which it stands.
	Ways []Way `json:"ways,omitempty"`
	// More is for how many others it stands whose ways are not told.
	More int `json:"more,omitempty"`
}

// Way is where the mail for an address goes, and how.
type Way struct {
	Address string `json:"address"`
	route.Explanation
	// Transport is the name of the one that leads there, and Hops are its servers as they
	// are found now, in the order in which they are tried.
	Transport string `json:"transport,omitempty"`
	Hops      []Hop  `json:"hops,omitempty"`
	// Error is why there is no way now.
	Error string `json:"error,omitempty"`
	// Company is that in whose name it goes; empty for none.
	Company string `json:"company,omitempty"`
	// Limits bound the connections to it.
	Limits *Limits `json:"limits,omitempty"`
	// RequireTLS says whether REQUIRETLS can be honoured, where the message has it.
	RequireTLS string `json:"require_tls,omitempty"`
}

// maxWays bounds of how many addresses a report tells: each may be questions to DNS.
const maxWays = 20

// Whither tells where the mail for a recipient goes, and asks DNS for the servers. It fails
// when the listener is unknown.
func (s *Server) Whither(ctx context.Context, q RouteQuestion) (*RouteReport, error) {
	l, err := s.listener(&Mail{Listener: q.Listener})
	if err != nil {
		return nil, err
	}
	origin := mail.Origin{Listener: l.name, Local: l.address}
	if q.User != "" {
		origin.Account = s.sender(q.User)
	}
	r := &RouteReport{Address: q.To.String(), From: q.From.Path(), User: q.User, Listener: l.name, Tags: q.Tags}
	members, err := s.members(ctx, q, &origin, r)
	if err != nil {
		reply := mail.ReplyOf(err)
		r.Refused = &reply
		return r, nil
	}
	for _, m := range members {
		if len(r.Ways) == maxWays {
			r.More = len(members) - maxWays
			break
		}
		from := q.From
		if !m.Owner.IsNull() { // whose mail it is from then on
			from = m.Owner
		}
		way := s.way(mail.Routing{From: from, To: m.Address, Account: origin.Account, Listener: l.name, Tags: q.Tags}, m.Address.Destination())
		s.resolve(ctx, way, route.Question{Destination: way.Destination, Sender: from})
		r.Ways = append(r.Ways, *way)
	}
	return r, nil
}

// sender is the account of a name. One that the directory does not have is of another
// source.
func (s *Server) sender(name string) *mail.Account {
	if s.Account != nil {
		if p, known := s.Account(name); known {
			return &p.Account
		}
	}
	return &mail.Account{Name: name}
}

// way is that of a recipient, without its servers.
func (s *Server) way(r mail.Routing, at mail.Destination) *Way {
	return &Way{Address: r.To.String(), Explanation: s.Router.Explain(r, at)}
}

// members are those for whom a recipient stands.
func (s *Server) members(ctx context.Context, q RouteQuestion, o *mail.Origin, r *RouteReport) ([]intake.Member, error) {
	r.Local = s.Door.Local.Is(q.To, o.Local.Addr())
	x, err := s.Door.Local.Expand(ctx, q.To, intake.Sending{Origin: o, From: q.From})
	if err != nil || x == nil {
		return []intake.Member{{Address: q.To}}, err
	}
	return x.Members, nil
}

// Write writes the report for a person.
func (r *RouteReport) Write(w io.Writer) error {
	p := &printer{}
	if r.Refused != nil {
		p.line("<%s> is refused: %s", r.Address, r.Refused)
	}
	for i := range r.Ways {
		p.way(&r.Ways[i], r.Address, len(r.Ways)+r.More > 1)
	}
	if r.More > 0 {
		p.line("and for %d more", r.More)
	}
	p.line("")
	user := ""
	if r.User != "" {
		user = " as " + r.User
	}
	tags := ""
	if len(r.Tags) > 0 {
		tags = ", tagged " + strings.Join(r.Tags, ", ")
	}
	p.line("asked: from %s at listener %s%s%s", r.From, r.Listener, user, tags)
	_, err := io.WriteString(w, p.String())
	return err
}

// ways tells at the end of a report by which way the mail for each recipient goes.
func (p *printer) ways(list []Recipient) {
	begun := false
	for i := range list {
		if list[i].Way == nil {
			continue
		}
		if !begun {
			p.line("")
			p.line("WAYS")
			begun = true
		}
		p.way(list[i].Way, list[i].Address, false)
	}
}

// way tells of one way: what is decisive first.
func (p *printer) way(w *Way, asked string, several bool) {
	stands := ""
	if several || w.Address != asked {
		stands = "for <" + w.Address + ">, "
	}
	at := ""
	if w.At.Line > 0 {
		at = " at " + w.At.String()
	}
	by := ""
	if w.Transport != "" {
		by = "by " + w.Transport + ": "
	}
	p.line("<%s>: %s%s%s%s", asked, stands, by, w.Why, at)
	p.line("  destination %s", w.Destination)
	if w.Error != "" {
		p.line("  no way now: %s", w.Error)
	}
	for i := range w.Hops {
		p.hop(&w.Hops[i], w.Transport)
	}
	if w.Company != "" {
		p.line("  in the name of the company %s", w.Company)
	}
	if w.Limits != nil {
		p.line("  at most %s", w.Limits)
	}
	if w.RequireTLS != "" {
		p.line("  REQUIRETLS %s", w.RequireTLS)
	}
	for _, passed := range w.Passed {
		where := ""
		if passed.At.Line > 0 {
			where = " at " + passed.At.String()
		}
		p.line("  - %s%s: %s", passed.Route, where, passed.Why)
	}
}

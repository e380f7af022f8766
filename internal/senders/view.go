package senders

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
)

// Sender is a source as people see it.
type Sender struct {
	Source string `json:"source" doc:"account:LOGIN, certificate:FINGERPRINT, address:ADDRESS, or local:USER for a user of this host"`
	Kind   Kind   `json:"kind" enum:"account,certificate,address,local"`
	// First and Last are when a message was accepted from it.
	First time.Time `json:"first_seen"`
	Last  time.Time `json:"last_seen"`
	// What was accepted since First.
	Messages   int64 `json:"messages"`
	Recipients int64 `json:"recipients" doc:"As the client named them"`
	Octets     int64 `json:"octets"`
	// From are the domains of senders, MoreFrom counts those of others.
	From     []string `json:"from,omitempty" doc:"Domains of the senders, in MAIL and in From of the header: the first 20 of them; <> for reports"`
	MoreFrom int64    `json:"more_from,omitempty" doc:"How often others came, for which there was no room"`
	// Account is what has verified the account, Mechanism how.
	Account   string `json:"account_source,omitempty" doc:"What has verified the account"`
	Mechanism string `json:"mechanism,omitempty" doc:"How: a mechanism of SASL, certificate or address"`
	// What follows is of the last message.
	Listener    string            `json:"listener"`
	Client      string            `json:"client,omitempty" doc:"The address of the client"`
	Name        string            `json:"client_name,omitempty" doc:"Its name in DNS"`
	Hello       string            `json:"hello,omitempty" doc:"What it said in EHLO or HELO"`
	Protocol    string            `json:"protocol,omitempty" doc:"SMTP says that it was HELO"`
	TLS         string            `json:"tls,omitempty" doc:"Nothing for a connection in clear"`
	Cipher      string            `json:"cipher,omitempty"`
	Certificate *mail.Certificate `json:"certificate,omitempty"`
	// User is the user of the directory whose mail this is now; Owner and Note are what an
	// operator has said.
	User  string `json:"user,omitempty" doc:"The user of the directory to whom it belongs now"`
	Owner string `json:"owner,omitempty"`
	Note  string `json:"note,omitempty"`
	// Risks are what will break next.
	Risks []Risk `json:"risks,omitempty" doc:"What it does that will be refused when an old way is closed"`
}

// Unassigned reports whether nobody is known whose source it is.
func (s *Sender) Unassigned() bool {
	known := s.Kind == KindAccount || s.Kind == KindLocal
	return !known && s.User == "" && s.Owner == ""
}

// Order is in which order sources are listed.
type Order string

// The orders; the first has the most of it first, and the latest, and the others too.
const (
	ByMessages   Order = "messages"
	ByRecipients Order = "recipients"
	ByOctets     Order = "octets"
	ByLast       Order = "last"
	ByFirst      Order = "first"
	BySource     Order = "source" // by name
)

// Filter says which sources are listed; all of them without anything.
type Filter struct {
	// Unassigned are those of which nobody knows whose they are, AtRisk those that will
	// break.
	Unassigned, AtRisk bool
	// Since is when a source was seen last at the earliest, New when first.
	Since, New time.Time
	// Match is a text in its name, its addresses or what was said of it, in whatever case.
	Match string
	// Order is ByMessages without anything, Limit how many at most; 0 for all.
	Order Order
	Limit int
}

// List returns sources, those first of which there is most.
func (v *Inventory) List(f Filter) []Sender {
	now := v.Clock.Now()
	var list []Sender
	for _, s := range v.snapshot(f) {
		if shown := v.view(&s, now); f.takes(&shown) {
			list = append(list, shown)
		}
	}
	slices.SortFunc(list, f.Order.compare)
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	return list
}

// Get returns one source. It fails with ErrSource or directory.ErrNotFound, wrapped.
func (v *Inventory) Get(name string) (Sender, error) {
	k, err := parseKey(name)
	if err != nil {
		return Sender{}, err
	}
	v.mu.Lock()
	s := v.sources[k]
	var found source
	if s != nil {
		found = *s
	}
	v.mu.Unlock()
	if s == nil {
		return Sender{}, notFound(k)
	}
	return v.view(&found, v.Clock.Now()), nil
}

func notFound(k key) error { return fmt.Errorf("%w sender %s", directory.ErrNotFound, k) }

// snapshot returns the sources that were seen in the time of a filter, as they are now.
func (v *Inventory) snapshot(f Filter) []source {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]source, 0, len(v.sources))
	for _, s := range v.sources {
		if !s.last.Before(f.Since) && !s.first.Before(f.New) {
			list = append(list, *s)
		}
	}
	return list
}

// takes reports whether a filter takes a source, of those of its time.
func (f *Filter) takes(s *Sender) bool {
	if f.Unassigned && !s.Unassigned() || f.AtRisk && len(s.Risks) == 0 {
		return false
	}
	texts := append([]string{s.Source, s.Client, s.Name, s.Hello, s.User, s.Owner, s.Note}, s.From...)
	return slices.ContainsFunc(texts, func(text string) bool {
		return strings.Contains(strings.ToLower(text), strings.ToLower(f.Match))
	})
}

func (o Order) compare(a, b Sender) int {
	more := 0
	switch o {
	case ByRecipients:
		more = cmp.Compare(b.Recipients, a.Recipients)
	case ByOctets:
		more = cmp.Compare(b.Octets, a.Octets)
	case ByLast:
		more = b.Last.Compare(a.Last)
	case ByFirst:
		more = b.First.Compare(a.First)
	case BySource:
	default:
		more = cmp.Compare(b.Messages, a.Messages)
	}
	return cmp.Or(more, strings.Compare(a.Source, b.Source))
}

// view returns a source as people see it.
func (v *Inventory) view(s *source, now time.Time) Sender {
	d := &s.details
	return Sender{
		Source: s.key.String(), Kind: s.key.kind, First: s.first, Last: s.last,
		Messages: s.messages, Recipients: s.recipients, Octets: s.octets, From: slices.Clone(d.From), MoreFrom: d.MoreFrom,
		Account: d.Account, Mechanism: d.Mechanism, Listener: d.Listener, Client: d.Client, Name: d.Name, Hello: d.Hello,
		Protocol: d.Protocol, TLS: d.TLS, Cipher: d.Cipher, Certificate: d.Certificate,
		User: v.userOf(s), Owner: s.owner, Note: s.note, Risks: d.risks(now),
	}
}

// userOf returns the user of the directory to whom mail of a source would belong now: a
// certificate comes before an address, as it does at the door.
func (v *Inventory) userOf(s *source) string {
	switch s.key.kind {
	case KindAccount:
		if s.details.Account == directory.Source {
			return s.key.name
		}
	case KindCertificate:
		if c := s.details.Certificate; c != nil {
			if u, known := v.Directory.UserByCertificate(*c, s.details.Verified); known {
				return u.Login
			}
		}
		return v.userAt(s.details.Client)
	case KindAddress:
		return v.userAt(s.details.Client)
	}
	return ""
}

func (v *Inventory) userAt(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	u, _ := v.Directory.UserByAddress(ip)
	return u.Login
}

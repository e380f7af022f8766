package intake

import (
	"context"
	"net/netip"
	"strings"

	"postern/internal/directory"
	"postern/internal/mail"
)

// This file follows aliases and lists to their ends. Whatever the records say, it
// comes to one: a way is at most maxDepth steps long, no alias or list is followed
// twice, and there are at most maxMembers members.

const (
	// maxDepth is how many aliases and lists may stand for each other.
	maxDepth = 10
	// maxMembers is for how many addresses the recipients of a message may stand.
	maxMembers = 10_000
)

// Refusals of recipients of this host. A mistake in the records is the operator's, and
// mail waits until it is mended.
var (
	errUnknownUser = mail.Refuse(550, "5.1.1", "No such user here")
	errNowhere     = mail.Refuse(451, "4.3.5", "Local configuration error, please try again later")
	errDirectory   = mail.Refuse(451, "4.4.3", "Recipients cannot be looked up at present, please try again later")
	errLoop        = mail.Refuse(451, "4.4.6", "The aliases of this address lead in a circle, or too far; please try again later")
	errTooLarge    = mail.Refuse(451, "4.3.5", "This address stands for too many others; please try again later")
	errNotPoster   = mail.Refuse(550, "5.7.1", "You may not send to this list")
	errMembers     = mail.Refuse(452, "4.5.3", "Too many recipients: those before stand for many others already")
)

// Sending says who sends, as far as it matters for where it goes.
type Sending struct {
	// Origin is that of the message; nil for what has none.
	Origin *mail.Origin
	// From is its sender.
	From mail.Address
	// Instead is the sender that policy gives to the mail of the recipient, by which it is
	// routed; nil: From.
	Instead *mail.Address
	// Kept says that the mail keeps that sender on a list, too, and has not the owner's.
	Kept bool
	// Ours says that the administrator or the server itself has named the recipient:
	// then nobody asks who may post to a list, and users of this host are somebody.
	Ours bool
	// Report says that a report goes to the sender of a message, whom somebody else has
	// named: it is for the owner of a list, and not for its members.
	Report bool
}

// Expansion is whom an address of this host stands for, followed to the end.
type Expansion struct {
	// Members are those who get the mail, each address once.
	Members []Member
	// Unknown are addresses on the way that are nobody's.
	Unknown []Member
	// List is the name of the list that the address is, if that has an owner.
	List string
}

// Member is an address that gets mail for another.
type Member struct {
	Address mail.Address
	// List is the list that it is on, the last on the way to it; empty for none.
	List string
	// Owner is the sender that its mail has instead, because what goes wrong is for the
	// owner of the list (RFC 5321 3.9.2). Null: the sender stays.
	Owner mail.Address
}

// Single reports whether the address stands for one other and nothing more: an alias
// through which all that the sender has asked for goes (RFC 3461 5.2.7.2).
func (x *Expansion) Single() bool {
	return len(x.Members) == 1 && len(x.Unknown) == 0 && x.Members[0].Owner.IsNull() && x.List == ""
}

// Expand returns whom an address stands for; nil when it is elsewhere, and stands for
// itself.
//
// It fails with a mail.Error: 550 5.1.1 when it is nobody's; 550 5.7.1 when the sender
// may not post to a list; 451 when the records lead in a circle or too far (4.4.6) or
// to too many (4.3.5), or cannot be read at present (4.4.3).
func (l *Local) Expand(ctx context.Context, a mail.Address, by Sending) (*Expansion, error) {
	if !l.Is(a, by.connected()) {
		return nil, nil
	}
	x := newExpander(ctx, l, by)
	if x.elsewhere(a, via{}, true) { // accepted, and for itself
		return &Expansion{Members: []Member{{Address: a}}}, nil
	}
	err := x.walk(a, via{login: by.login(), alone: true})
	if err == nil && len(x.found.Members) == 0 {
		err = errUnknownUser
	}
	if err != nil && a.IsPostmaster() { // who is always somebody (RFC 5321 4.5.1)
		return l.keeper(a, x.connected)
	}
	if err != nil {
		return nil, err
	}
	return &x.found, nil
}

// keeper is the postmaster by the settings alone.
func (l *Local) keeper(a mail.Address, connected netip.Addr) (*Expansion, error) {
	to := l.postmaster(a)
	if to.IsNull() || l.Is(to, connected) {
		return nil, errNowhere
	}
	return &Expansion{Members: []Member{{Address: to}}}, nil
}

// login is that of the user of the directory who sends; empty for anybody else.
func (by *Sending) login() string {
	if o := by.Origin; o != nil && o.Account != nil && o.Account.Source == directory.Source {
		return o.Account.Name
	}
	return ""
}

// connected is the address to which the client connected; the zero one if there is none.
func (by *Sending) connected() netip.Addr {
	if by.Origin == nil {
		return netip.Addr{}
	}
	return by.Origin.Local.Addr()
}

// identified reports whether it is known who sends.
func (by *Sending) identified() bool {
	return by.Origin != nil && (by.Origin.Account != nil || by.Origin.User != nil)
}

// expander is the work of one Expand.
type expander struct {
	local     *Local
	ctx       context.Context
	by        Sending
	connected netip.Addr

	found Expansion
	steps int             // targets that were looked at
	open  map[string]bool // aliases and lists on the way at hand
	done  map[place]bool  // all that were there
	// among, if it is not nil, is told of every address on the way.
	among func(mail.Address)
}

func newExpander(ctx context.Context, l *Local, by Sending) *expander {
	return &expander{local: l, ctx: ctx, by: by, connected: by.connected(), open: make(map[string]bool), done: make(map[place]bool)}
}

// place is an address, and on whose behalf it gets mail.
type place struct {
	address string
	owner   mail.Address
}

// placeOf compares local parts as they are: elsewhere their case may matter.
func placeOf(a, owner mail.Address) place {
	return place{a.Local + "@" + strings.ToLower(a.Domain), owner}
}

// via is the way to an address.
type via struct {
	depth int
	// login is that of the sender, as long as only his own aliases were followed.
	login string
	// list is the last list on the way, owner the last that a list has.
	list  string
	owner mail.Address
	// alone says that everything on the way had a single target.
	alone bool
}

// walk follows an address.
func (x *expander) walk(a mail.Address, v via) error {
	if x.among != nil {
		x.among(a)
	}
	if !x.local.Is(a, x.connected) || x.elsewhere(a, v, true) {
		return x.add(&x.found.Members, a, v)
	}
	r, found, err := x.local.lookup(x.ctx, v.login, a)
	postmaster := x.local.postmaster(a)
	nobody, keeper := !found || r.Kind == directory.KindUser, !postmaster.IsNull()
	switch {
	case keeper && a.IsPostmaster() && (err != nil || nobody || r.CatchAll), keeper && err == nil && nobody && x.isUser(a):
		return x.follow(directory.Resolution{Kind: directory.KindAlias, Address: a, Targets: []mail.Address{postmaster}}, v)
	case err != nil:
		return errDirectory.Because(err)
	case nobody && x.elsewhere(a, v, false):
		return x.add(&x.found.Members, a, v)
	case nobody:
		return x.add(&x.found.Unknown, a, v)
	}
	return x.follow(r, v)
}

// elsewhere reports whether a route takes a local address to another server, in the mail
// with the sender that it has there.
func (x *expander) elsewhere(a mail.Address, v via, known bool) bool {
	if x.local.Elsewhere == nil {
		return false
	}
	r := mail.Routing{From: x.by.From, To: a}
	switch {
	case !v.owner.IsNull() && !x.by.Kept:
		r.From = v.owner
	case x.by.Instead != nil:
		r.From = *x.by.Instead
	}
	if o := x.by.Origin; o != nil {
		r.Account, r.Listener = o.Account, o.Listener
	}
	return x.local.Elsewhere(r, known)
}

// isUser reports whether an address is that of a user of this host, in what another
// one or the server itself sends.
func (x *expander) isUser(a mail.Address) bool {
	ours := x.by.Ours || x.by.Origin != nil && x.by.Origin.User != nil
	return ours && x.local.IsUser != nil && x.local.IsUser(a.Local)
}

// follow goes on to all for which an alias or a list stands.
func (x *expander) follow(r directory.Resolution, v via) error {
	if x.by.Report && r.Kind == directory.KindList {
		r = x.keptFrom(r)
	}
	at := placeOf(r.Address, v.owner)
	switch {
	case x.open[at.address] || v.depth == maxDepth:
		return errLoop
	case r.Kind == directory.KindList && v.list == "":
		if err := x.mayPost(&r); err != nil {
			return err
		}
	}
	if x.done[at] { // all of it is there
		return nil
	}
	x.open[at.address], x.done[at] = true, true
	defer delete(x.open, at.address)
	if x.steps += len(r.Targets); x.steps > 2*maxMembers {
		return errTooLarge
	}
	next := x.next(&r, v)
	for _, to := range r.Targets {
		if err := x.walk(to, next); err != nil {
			return err
		}
	}
	return nil
}

// keptFrom is the list as reports have it. Anybody can have a report sent to it, with
// what he likes in it, by naming it as the sender of what cannot be delivered: so it is
// for the owner, or where only some may post, for the postmaster.
func (x *expander) keptFrom(list directory.Resolution) directory.Resolution {
	to := list.Owner
	switch {
	case !to.IsNull():
	case list.Posters == directory.Everybody:
		return list
	default:
		to = x.local.Postmaster
	}
	return directory.Resolution{Kind: directory.KindAlias, Address: list.Address, Targets: []mail.Address{to}}
}

// next is the way to the targets of an alias or a list. What has the null sender keeps
// it, so that nothing comes back (RFC 5321 4.5.5).
func (x *expander) next(r *directory.Resolution, v via) via {
	n := via{depth: v.depth + 1, list: v.list, owner: v.owner, alone: v.alone && len(r.Targets) == 1}
	if r.Personal {
		n.login = v.login
	}
	if r.Kind != directory.KindList {
		return n
	}
	n.list = r.List
	if r.Owner.IsNull() || x.by.From.IsNull() {
		return n
	}
	if v.alone {
		x.found.List = r.List
	}
	n.owner, n.alone = r.Owner, false
	return n
}

// add notes an address at the end of a way, once.
func (x *expander) add(to *[]Member, a mail.Address, v via) error {
	at := placeOf(a, v.owner)
	if x.done[at] {
		return nil
	}
	x.done[at] = true
	if len(x.found.Members)+len(x.found.Unknown) == maxMembers {
		return errTooLarge
	}
	*to = append(*to, Member{Address: a, List: v.list, Owner: v.owner})
	return nil
}

// mayPost asks whether the sender may send to a list. A list on another one is not
// asked: whose mail that takes, it says itself.
func (x *expander) mayPost(list *directory.Resolution) error {
	switch {
	case x.by.Ours || x.among != nil:
		return nil
	case list.Posters == directory.Accounts && !x.by.identified():
		return errNotPoster
	case list.Posters == directory.Members:
		return x.isMember(list)
	}
	return nil
}

// isMember asks whether the sender is one of the addresses of a list, or on the way to
// one.
func (x *expander) isMember(list *directory.Resolution) error {
	is := false
	all := newExpander(x.ctx, x.local, x.by)
	all.among = func(a mail.Address) {
		is = is || strings.EqualFold(a.Local, x.by.From.Local) && mail.SameDomain(a.Domain, x.by.From.Domain)
	}
	if err := all.follow(*list, via{}); err != nil {
		return err
	}
	if !is || x.by.From.IsNull() {
		return errNotPoster
	}
	return nil
}

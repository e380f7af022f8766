package deliver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
)

// TestClassStays: a report, its copy, and a dead letter have the class of their message.
func TestClassStays(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"gone": "550 5.1.1 no such user"}))
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("nowhere")}, Options{Settings: Settings{CopyFailures: true, Company: func(mail.Address) mail.Company {
		return mail.Company{Hostname: "mail.example", Postmaster: mail.Address{Local: "admin", Domain: "sender.example"}}
	}}})
	for _, class := range mail.Classes {
		of := func(e *queue.Entry) { e.Class = class }
		count := func(id mail.ID, reason mail.Reason) (n int) {
			for _, f := range h.facts(id) {
				if f.Reason != reason || f.Message == id {
					continue
				}
				n++
				e, err := h.store.Get(t.Context(), f.Message)
				if err != nil || e.Class != class {
					t.Errorf("%s of a message of the class %s has %s, %v", f.Text, class, e.Class, err)
				}
			}
			return n
		}
		id := h.submitWith("joe@sender.example", of, "gone@one.example")
		h.awaitFacts(id, mail.ReasonBounced, 1)
		if n := count(id, mail.ReasonAccepted); n != 2 {
			t.Errorf("there are %d reports, want one and its copy", n)
		}
		id = h.submitWith("", of, "gone@one.example")
		h.awaitFacts(id, mail.ReasonDead, 1)
		if n := count(id, mail.ReasonHeld); n != 1 {
			t.Errorf("there are %d dead letters", n)
		}
	}
}

// ofCompanies routes the mail of each sender's domain as its own company to one site.
type ofCompanies struct{ way route.Route }

func (o ofCompanies) Route(_ context.Context, q route.Question) (route.Route, error) {
	r := o.way
	r.Hops = []route.Hop{o.way.Hops[0]}
	r.Hops[0].From.Hostname = "mail." + q.Sender.Domain
	return r, nil
}

// TestCompaniesShareNoConnection: mail of two companies by one server goes over a connection for
// each, which is kept for its own mail alone.
func TestCompaniesShareNoConnection(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, ofCompanies{by("t", to("site", sink.Addr()))}, withTransport(Transport{MaxConnections: 2, IdleTimeout: patience}))
	for i := range 6 {
		from := fmt.Sprintf("joe@%s.example", []string{"acme", "shop"}[i%2])
		h.awaitFacts(h.submit(from, fmt.Sprintf("%d@x.example", i)), mail.ReasonDelivered, 1)
	}
	want := map[int][]string{0: {"0@x.example", "2@x.example", "4@x.example"}, 1: {"1@x.example", "3@x.example", "5@x.example"}}
	if diff := cmp.Diff(want, connections(sink)); diff != "" {
		t.Error(diff)
	}
}

// TestConnectionsOfPool: a site of a pool has as many connections as its servers bear, or as its
// transport says for itself, if that is less.
func TestConnectionsOfPool(t *testing.T) {
	s := Settings{MaxPerSite: 3, Transports: map[string]Transport{"own": {MaxConnections: 4}, "none": {}}}
	s.setTransports()
	for _, c := range []struct {
		name        string
		bears, want int
	}{{"own", 0, 4}, {"own", 2, 2}, {"own", 9, 4}, {"none", 0, 3}, {"none", 2, 2}, {"none", 9, 9}, {"unknown", 9, 9}, {"unknown", 0, 3}} {
		of := s.transport(c.name)
		if got := of.connections(c.bears); got != c.want {
			t.Errorf("%s with servers that bear %d: %d, want %d", c.name, c.bears, got, c.want)
		}
	}
	first, second := &pooled{room: 5}, &pooled{room: 5}
	r := pool([]*pooled{first, second}, mailtest.NewSink(t).Addr(), mailtest.NewSink(t).Addr())
	r = by("t", r)
	r.Connections = 10
	h := start(t, routes{"": r}, withTransport(Transport{MaxConnections: 1, IdleTimeout: time.Hour}))
	var ids []mail.ID
	for i := range 6 {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a%d@x.example", i)))
	}
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	h.finish()
	if first.most+second.most != 1 {
		t.Errorf("%d and %d connections at once, want 1 in all", first.most, second.most)
	}
}

package smtpserver

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"postern/internal/smtp"
)

// This file takes every step in every state of the server, and compares with
// the reference: replies, what is accepted, what the handler is told, facts.
//
// Sequences are too many to be tried: there are 2×10^12 of length 6. But two that
// leave the same state behind have the same future, and the state can be read: it
// is the fields of session, conn, transaction and DataReader. So a state is gone
// on from once. That this is allowed is shown in three ways: TestModelStateIsWhole
// names each field, and says why if it is no part of the state; testUnpruned tries
// all short sequences, each for itself; testOtherWays goes on from states that
// were reached by another way. The states are finitely many, so that this covers
// sequences of any length.

// long makes tests take their time.
func long() bool { return os.Getenv("LONG") != "" }

// fields say of each field of the server's state: "" it is part of the
// state; else why not.
var fields = map[reflect.Type]map[string]string{
	reflect.TypeFor[session](): {
		"server": "the same in all sessions", "options": "the same in all sessions", "conn": "has fields of its own",
		"handler": "has its own check in take", "log": "write-only",
		"origin": "", "ext": "", "greeted": "", "tx": "", "unread": "", "closing": "",
		"named":     "set anew by each command before anything reads it", // TestFactNamesNobodyOfBefore
		"mails":     "a counter without limit here; TestModelLimits",
		"errors":    "a counter without limit here; TestModelLimits",
		"chatter":   "a counter without limit here; TestModelLimits",
		"accepted":  "read by the log alone",
		"noted":     "read by metrics alone",
		"authTried": "decides only whether facts name unknown verbs; take compares these",
	},
	reflect.TypeFor[transaction](): {"mail": "", "recipients": "", "surplus": ""},
	reflect.TypeFor[conn](): {
		"nc": "the pipe", "rw": "", "br": "", "edition": "the same in all sessions", "timeout": "the same in all sessions", "cancel": "the same in all sessions",
		"queue": "", "broken": "", "small": "how large the buffer is makes no difference", "carry": "taken by the first read of content", "deadline": "set anew by each wait", "pace": "", "admitted": "",
		"mu": "not held", "idle": "", "lingering": "", "stopping": "", // TestModelStop
	},
	reflect.TypeFor[pace](): {
		"timeout": "the same in all sessions", "rate": "the same in all sessions",
		"got": "less than a second's worth here", "waited": "fake time stands still",
	},
	reflect.TypeFor[smtp.DataReader](): {
		"br": "that of conn", "chunks": "the same for all messages", "newlines": "the same in all sessions", "limit": "the same in all sessions",
		"tail": "read by the log alone", "repaired": "read by metrics alone",
		"size": "", "owed": "", "state": "", "ended": "", "err": "", "broken": "", "chunk": "",
	},
}

// TestModelStateIsWhole: whoever gives the server another field must say here
// whether it is part of the state.
func TestModelStateIsWhole(t *testing.T) {
	for typ, known := range fields {
		for i := range typ.NumField() {
			name := typ.Field(i).Name
			if _, ok := known[name]; !ok {
				t.Errorf("%v.%s is not known to the model: put it into state, or say why not", typ, name)
			}
			delete(known, name)
		}
		for name := range known {
			t.Errorf("%v.%s is gone", typ, name)
		}
	}
}

// state is all that the future of a session may depend on, as text.
func (tr *trial) state() string {
	s, c := tr.session, tr.session.conn
	text := fmt.Sprint(s.origin.Hello, s.origin.Protocol, s.origin.TLS != nil, s.origin.Account != nil, s.ext, s.greeted, s.unread, s.closing, "|",
		c.rw != c.nc, c.br.Buffered(), len(c.queue), c.broken, c.pace != nil, c.admitted, c.idle, c.lingering, c.stopping, "|")
	if s.tx != nil {
		// More surplus recipients than are forgiven are all alike.
		// REQUIRETLS is for the handler: the server reads it no more.
		mail := s.tx.mail
		mail.Envelope.RequireTLS = false
		text += fmt.Sprint(mail, s.tx.recipients, min(s.tx.surplus, modelRecipients+1), "|")
	}
	if d := tr.handler.reader; d != nil {
		v := reflect.ValueOf(d).Elem()
		text += fmt.Sprint(v.FieldByName("size"), v.FieldByName("owed"), v.FieldByName("state"), d.Ended(), d.Err(), d.Broken(), d.ChunkLeft(),
			v.FieldByName("chunk"))
	}
	// The reference must be in one state when the server is.
	m := tr.machine
	m.limits, m.counts, m.tried, m.secret = limits{}, counts{}, false, false
	return text + fmt.Sprintf("|%+v", m)
}

// node is a state, with a shortest way to it.
type node struct {
	path []int // steps
	next []int // by step: a node, or over
}

const over = -1

// graph is all states and what leads from one to another.
type graph struct {
	world *world
	steps []*step
	nodes []node
	index map[string]int
}

// explore takes every step in every state that there is.
func explore(t *testing.T) *graph {
	t.Helper()
	g := &graph{world: newWorld(t), steps: modelSteps(), index: map[string]int{}}
	g.at(nil, g.run(t, nil))
	for n := 0; n < len(g.nodes); n++ {
		for i := range g.steps {
			path := append(slices.Clone(g.nodes[n].path), i)
			g.nodes[n].next = append(g.nodes[n].next, g.at(path, g.run(t, path)))
			if t.Failed() && n > 20 {
				t.FailNow() // enough to see what it is
			}
		}
	}
	return g
}

// at returns the node of a state, "" for a session that is over.
func (g *graph) at(path []int, state string) int {
	if state == "" {
		return over
	}
	if n, ok := g.index[state]; ok {
		return n
	}
	n := len(g.nodes)
	g.index[state] = n
	g.nodes = append(g.nodes, node{path: path})
	return n
}

// run takes steps in a session of their own, and returns the state that they leave.
func (g *graph) run(t *testing.T, path []int) string {
	t.Helper()
	tr, err := g.world.connect()
	defer tr.end()
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range path {
		if tr.machine.over {
			t.Fatalf("%s: nothing can follow", g.names(path[:i]))
		}
		if err := tr.take(g.steps[n]); err != nil {
			t.Errorf("%s: %v", g.names(path[:i+1]), err)
			return ""
		}
	}
	if tr.machine.over {
		return ""
	}
	return tr.state()
}

func (g *graph) names(path []int) string {
	var names []string
	for _, n := range path {
		names = append(names, g.steps[n].name)
	}
	return strings.Join(names, " · ")
}

// ends returns where a path leads. g.run has the same by trying it.
func (g *graph) ends(path []int) int {
	n := 0
	for _, i := range path {
		if n == over {
			return over
		}
		n = g.nodes[n].next[i]
	}
	return n
}

// sequences counts those of a length that the graph stands for, without those
// that go on behind the end of the connection.
func (g *graph) sequences(length int) int {
	ways := make([]int, len(g.nodes))
	ways[0] = 1
	total := 0
	for range length {
		next := make([]int, len(g.nodes))
		total = 0
		for n, w := range ways {
			for _, to := range g.nodes[n].next {
				total += w
				if to != over {
					next[to] += w
				}
			}
		}
		ways = next
	}
	return total
}

func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := explore(t)
		deepest := 0
		for _, n := range g.nodes {
			deepest = max(deepest, len(n.path))
		}
		t.Logf("%d steps, %d states, the last of them after %d steps: %d tried, which stand for %d sequences of length 6",
			len(g.steps), len(g.nodes), deepest, len(g.steps)*len(g.nodes), g.sequences(6))
		if t.Failed() {
			return
		}
		testUnpruned(t, g)
		testOtherWays(t, g)
		testAtRandom(t, g)
	})
}

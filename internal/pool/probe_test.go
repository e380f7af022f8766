package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/route"
)

// tended runs a test with pools that are tended, in fake time.
func tended(t *testing.T, pool Settings, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pool)
		defer w.tend()()
		synctest.Wait()
		test(w)
	})
}

// tend tends the pools until that is stopped.
func (w *world) tend() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) answer(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes[what] = err
}

// told returns how often it was told that mail may go again.
func (w *world) told() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.recovered
}

// probed returns who was probed since the last time.
func (w *world) probed() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return strings.Join(asked, ", ")
}

// TestProbes: unknown servers at the start, those that are not usable after a while, and
// no others.
func TestProbes(t *testing.T) {
	tended(t, with("192.0.2.1", "192.0.2.2"), func(w *world) {
		probed := strings.Split(w.probed(), ", ")
		slices.Sort(probed)
		if diff := cmp.Diff([]string{"192.0.2.1 opportunistic", "192.0.2.2 opportunistic"}, probed); diff != "" {
			w.t.Errorf("at the start (-want +got):\n%s", diff)
		}
		if v := w.state("192.0.2.1"); v.State != Active || !v.Learned.StartTLS || v.OnTrial {
			w.t.Errorf("%+v", v)
		}
		w.after(time.Hour)
		if got := w.probed(); got != "" {
			w.t.Errorf("servers that are well are probed: %s", got)
		}
		w.answer("192.0.2.1", nobody)
		w.hops(route.Question{})[0].Target.Failed(nobody)
		w.after(2*time.Minute - time.Second)
		if got := w.probed(); got != "" {
			w.t.Errorf("too soon: %s", got)
		}
		w.after(time.Second)
		w.after(2 * time.Minute)
		if got := w.probed(); got != "192.0.2.1 opportunistic, 192.0.2.1 opportunistic" {
			w.t.Errorf("probed %q", got)
		}
		if v := w.state("192.0.2.1"); v.State != NotUsable || v.Failures != 3 {
			w.t.Errorf("%+v", v)
		}
	})
}

// TestHalfOpen: one probe, then one transaction, then all.
func TestHalfOpen(t *testing.T) {
	tended(t, with("192.0.2.1"), func(w *world) {
		h := w.hops(route.Question{})[0]
		h.Target.Failed(nobody)
		if _, err := w.Transport("hubs").Route(w.t.Context(), route.Question{}); err == nil {
			w.t.Fatal("there is a way")
		}
		told := w.told()
		w.after(2 * time.Minute)
		if v := w.state("192.0.2.1"); v.State != Active || !v.OnTrial || w.told() == told {
			w.t.Fatalf("%+v, told %d times", v, w.told()-told)
		}
		h = w.hops(route.Question{})[0]
		if !h.Target.Enter() || h.Target.Enter() {
			w.t.Fatal("not one connection")
		}
		h.Target.Connected(full10)
		if h.Target.Enter() {
			w.t.Fatal("a second one before a message went through")
		}
		told = w.told()
		h.Target.Settled(rejected)
		if v := w.state("192.0.2.1"); v.OnTrial || v.Failures != 0 || w.told() == told {
			w.t.Errorf("%+v", v)
		}
		for range 4 {
			if !h.Target.Enter() {
				w.t.Fatal("not all")
			}
		}
	})
}

// TestStallingServer: one that answers probes and no message stays not usable, and is
// tried with one message each time.
func TestStallingServer(t *testing.T) {
	tended(t, with("192.0.2.1"), func(w *world) {
		for i := range 3 {
			h := w.hops(route.Question{})[0]
			if !h.Target.Enter() || i > 0 && h.Target.Enter() {
				w.t.Fatal("not one connection")
			}
			h.Target.Connected(full10)
			h.Target.Settled(unheard)
			h.Target.Leave()
			if _, err := w.Transport("hubs").Route(w.t.Context(), route.Question{}); err == nil || !strings.Contains(err.Error(), "end of data: timed out") {
				w.t.Fatalf("%v", err)
			}
			w.after(2 * time.Minute)
			if v := w.state("192.0.2.1"); v.State != NotUsable || !v.OnTrial || v.Failures != i+1 {
				w.t.Errorf("%+v", v)
			}
		}
		if diff := cmp.Diff([]string{"target-active 192.0.2.1", "target-not-usable 192.0.2.1"}, w.said(mail.ReasonTargetUp, mail.ReasonTargetDown)); diff != "" {
			w.t.Error(diff)
		}
		h := w.hops(route.Question{})[0]
		h.Target.Settled(taken)
		if v := w.state("192.0.2.1"); v.State != Active || v.OnTrial {
			w.t.Errorf("%+v", v)
		}
	})
}

// TestProbesOfTLS: a fault is probed at its own level, and mail that demands it waits
// until that is mended.
func TestProbesOfTLS(t *testing.T) {
	tended(t, with("192.0.2.1"), func(w *world) {
		w.probed()
		secret := route.Question{TLS: mail.TLSVerified}
		w.hops(secret)[0].Target.Failed(badTLS)
		w.answer("192.0.2.1 verify", badTLS)
		w.after(2 * time.Minute)
		if got := w.probed(); got != "192.0.2.1 verify" {
			w.t.Errorf("probed %q", got)
		}
		if v := w.state("192.0.2.1"); v.State != Active || len(v.Faults) != 1 {
			w.t.Errorf("%+v", v)
		}
		w.answer("192.0.2.1 verify", nil)
		w.after(2 * time.Minute)
		if got := order(w.hops(secret)); got != "192.0.2.1" || len(w.state("192.0.2.1").Faults) != 0 {
			w.t.Errorf("%q", got)
		}
	})
}

// TestProbeIsBounded: a server that says nothing costs a time, and is not usable then.
func TestProbeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		s.Change(Around{Probe: func(ctx context.Context, _ route.Lane, _ netip.AddrPort) (route.Capabilities, error) {
			<-ctx.Done()
			return route.Capabilities{}, broken{mail.Outcome{Command: "greeting", Reply: mail.NewReply(451, "4.4.2", "given up")}}
		}}, []Settings{with("192.0.2.1")})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		time.Sleep(probeTime)
		synctest.Wait()
		v, err := s.Find("192.0.2.1")
		if err != nil || v[0].State != NotUsable {
			t.Errorf("%+v, %v", v, err)
		}
		stop()
		running.Wait()
	})
}

// TestNamesAreLookedUpAgain on a timer, sooner when DNS gave no answer.
func TestNamesAreLookedUpAgain(t *testing.T) {
	tended(t, with("a.test"), func(w *world) {
		w.names.Set("a.test", addresses("192.0.2.1")...)
		w.after(5 * time.Minute)
		if got := order(w.hops(route.Question{})); got != "192.0.2.1" {
			w.t.Error(got)
		}
		w.names.Fail("a.test", fmt.Errorf("no answer"))
		w.after(5 * time.Minute)
		w.names.Set("a.test", addresses("192.0.2.2")...)
		w.after(2 * time.Minute)
		if got := order(w.hops(route.Question{})); got != "192.0.2.2" {
			w.t.Error(got)
		}
	})
}

// model is what a server should be: the rules in other words than the code's.
type model struct {
	state    State
	trial    bool // one message may try
	serious  bool // only a message can tell
	faulty   bool
	open     int
	inClear  bool // it has said that it offers no STARTTLS
	probable bool // a probe is to come
}

func (m *model) down(serious bool) {
	m.state, m.trial, m.serious, m.probable = NotUsable, false, serious, true
}

func (m *model) heard(inClear bool) {
	m.inClear = inClear
	if m.state == Unknown {
		m.state = Active
		m.probable = m.faulty
	}
}

// step does one thing to both, and says what it was.
func (m *model) step(w *world, n int) string {
	plainMail, secret := w.visitOf(""), w.visitOf(mail.TLSVerified)
	switch n {
	case 0:
		may := m.state != NotUsable || m.trial
		most := 2
		if m.trial {
			most = 1
		}
		if got, want := plainMail.Enter(), may && m.open < most; got != want {
			w.t.Fatalf("a connection may be: %t, want %t, of %+v", got, want, m)
		} else if got {
			m.open++
		}
		return "enter"
	case 1:
		if m.open > 0 {
			m.open--
			plainMail.Leave()
		}
		return "leave"
	case 2:
		plainMail.Connected(full10)
		m.heard(false)
		return "connected"
	case 3:
		plainMail.Failed(nobody)
		m.down(false)
		return "nobody"
	case 4:
		plainMail.Failed(busy)
		if m.state != Active || m.open < 2 {
			m.down(false)
		}
		return "busy"
	case 5:
		plainMail.Settled(unheard)
		m.down(true)
		return "unheard"
	case 6:
		plainMail.Settled(taken)
		m.state, m.trial, m.probable = Active, false, m.faulty
		return "taken"
	case 7:
		secret.Failed(badTLS)
		m.faulty, m.probable = true, true
		return "bad TLS"
	case 8:
		secret.Failed(noTLS)
		m.heard(true)
		return "no TLS"
	default:
		w.after(2 * time.Minute)
		if m.probable {
			m.probable, m.faulty, m.inClear = false, false, false
			if m.state == NotUsable {
				m.trial = true
			}
			if !m.serious || m.state == Unknown {
				m.state = Active
			}
		}
		return "time"
	}
}

func (w *world) visitOf(d mail.TLSDemand) visit {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Set.mu.Lock()
	defer w.Set.mu.Unlock()
	v := w.pools["hubs"].servers[0]
	return v.hop(route.Question{TLS: d}).Target.(visit)
}

// TestModel: whatever happens in whatever order, a server is as the rules have it.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		tended(t, with("192.0.2.1 max=2"), func(w *world) {
			random := rand.New(rand.NewPCG(seed, 1))
			m := &model{state: Active}
			var story []string
			for range 40 {
				story = append(story, m.step(w, random.IntN(10)))
				v := w.state("192.0.2.1")
				got := fmt.Sprintf("%s, trial %t, faulty %t, %d open, in clear %t", v.State, v.OnTrial, len(v.Faults) > 0, v.Connections, v.Learned != nil && !v.Learned.StartTLS)
				want := fmt.Sprintf("%s, trial %t, faulty %t, %d open, in clear %t", m.state, m.trial, m.faulty, m.open, m.inClear)
				if got != want {
					w.t.Fatalf("%s\nis   %s\nwant %s", strings.Join(story, ", "), got, want)
				}
			}
		})
	}
}

// TestManyAtOnce: the limit holds whoever asks.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, with("192.0.2.1", "192.0.2.2", "192.0.2.3 max=1"))
	var running sync.WaitGroup
	for i := range 20 {
		running.Go(func() {
			for range 50 {
				for _, h := range w.hops(route.Question{}) {
					if !h.Target.Enter() {
						continue
					}
					h.Target.Connected(full10)
					h.Target.Settled(taken)
					h.Target.Leave()
					break
				}
				if i == 0 {
					w.change(with("192.0.2.1", "192.0.2.2", "192.0.2.3 max=1"))
				}
				for _, v := range w.Pools()[0].Servers {
					if v.Connections > v.MaxConnections {
						t.Errorf("%d connections to %s", v.Connections, v.Address)
					}
				}
			}
		})
	}
	running.Wait()
	for _, v := range w.Pools()[0].Servers {
		if v.Connections != 0 {
			t.Errorf("%+v", v)
		}
	}
}

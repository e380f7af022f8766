// Package attack attacks the real binary: clients that send without end or not
// at all, that ask for much and take nothing, or come in thousands. It is no
// library.
//
// Each attack lasts until a client that does no harm has had all its mail taken
// and delivered beside it. What the server has of memory, descriptors and
// threads is read from /proc, of goroutines from its metrics, and must stay within bounds during the attack, and
// be as before when it is over. LONG=1 makes the attacks longer.
package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// limit bounds each attack, and every wait in it.
const limit = 4 * time.Minute

// The listener that is attacked, and another one for attacks of many clients.
// What a client may cost is bounded in time, and here that time is short.
const settings = `
[[listener]]
name = "attacked"
address = "%s"
trust = ["127.0.0.0/8"]
max_size = "1MiB"
command_timeout = "2s"
data_timeout = "2s"
tls_certificate = "%s"
tls_key = "%s"

[[listener]]
name = "crowded"
address = "%s"
trust = ["127.0.0.0/8"]
max_connections = 12000
max_connections_per_client = 12000

[[listener]]
name = "secure"
address = "%s"
trust = ["127.0.0.0/8"]
tls = "implicit"
command_timeout = "2s"
tls_certificate = "%s"
tls_key = "%s"

[[listener]]
name = "proxied"
address = "%s"
trust = ["127.0.0.0/8"]
proxy_from = ["127.0.1.0/24"]
command_timeout = "2s"

[monitoring]
address = "%s"

[submission]
directory = "%s"
max_size = "1MiB"

[admin]
address = "%s"
tokens = "file:%s"
`

// victim is a Postern before a sink.
type victim struct {
	*harness.Postern
	t                 *testing.T
	attacked, crowded string // addresses
	secure, proxied   string // likewise
	metrics, api      string // likewise
	spool             string // the directory of submission

	mu      sync.Mutex
	arrived map[string]int // by id
	next    atomic.Int64   // numbers the good messages

	kept []net.Conn // connections of an attack that lasts
}

// newVictim makes one that can be started. Its files stay behind when the test
// fails.
func newVictim(t *testing.T) *victim {
	t.Helper()
	dir := mailtest.KeptDir(t, "attack")
	v := &victim{t: t, arrived: map[string]int{}, attacked: freeAddress(t), crowded: freeAddress(t), metrics: freeAddress(t),
		secure: freeAddress(t), proxied: freeAddress(t)}
	sink := &harness.Sink{Take: v.take}
	if err := sink.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	binary, err := harness.BuildPostern(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	v.api, v.spool = freeAddress(t), filepath.Join(dir, "spool")
	tokens := filepath.Join(dir, "tokens")
	v.must(os.WriteFile(tokens, []byte("operator "+adminToken+"\n"), 0o600))
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	config, _ := mailtest.ServerTLS(t, "postern.test.example")
	v.must(os.WriteFile(certificate, mailtest.CertificatePEM(config), 0o600))
	v.must(os.WriteFile(key, mailtest.KeyPEM(t, config), 0o600))
	v.Postern, err = harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: sink.Addr(),
		Settings: fmt.Sprintf(settings, v.attacked, certificate, key, v.crowded,
			v.secure, certificate, key, v.proxied, v.metrics, v.spool, v.api, tokens),
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return harness.Loopback(port)
}

func (v *victim) take(a *harness.Arrival) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.arrived[harness.IDOf(a.Content)]++
	return ""
}

func (v *victim) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// stopAtEnd stops it when the test is over.
func (v *victim) stopAtEnd() {
	v.t.Cleanup(func() {
		if err := v.Stop(); err != nil {
			v.t.Error(err)
		}
	})
}

// goodMessages is how many messages the good clients send during an attack.
const goodMessages = 30

// goodClient is where the good clients come from; no attack does.
var goodClient = net.IPv4(127, 0, 9, 9)

// serve has good clients send their messages to a listener, and waits until
// all have arrived, each once.
func (v *victim) serve(ctx context.Context, addr string) {
	v.t.Helper()
	first := v.next.Add(goodMessages) - goodMessages
	next := first
	var mu sync.Mutex
	accepted := map[string]bool{}
	source := harness.Source{Addr: addr, Sessions: 3, From: goodClient, Redial: true,
		Next: func() *harness.Message {
			mu.Lock()
			defer mu.Unlock()
			if next == first+goodMessages {
				return nil
			}
			id := fmt.Sprintf("good-%d", next)
			next++
			return &harness.Message{ID: id, From: "good@source.example", To: []string{"b@elsewhere.example"},
				Content: append(harness.Header(id, "good@source.example", "b@elsewhere.example"), "Hello.\r\n"...)}
		},
		Done: func(m *harness.Message, o harness.Outcome, err error) {
			mu.Lock()
			defer mu.Unlock()
			if accepted[m.ID] = o == harness.Accepted; !accepted[m.ID] {
				v.t.Errorf("message %s of a good client was not accepted: %v", m.ID, err)
			}
		},
	}
	v.must(source.Run(ctx))
	v.must(harness.Until(ctx, "the mail of good clients arrives", func() (bool, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		for id := range accepted {
			if v.arrived[id] != 1 {
				return false, nil
			}
		}
		return len(accepted) == goodMessages, nil
	}))
}

// status is what `postern status` says.
func (v *victim) status(ctx context.Context) admin.Status {
	v.t.Helper()
	out, err := v.Command(ctx, "status", "--json").Output()
	v.must(err)
	var s admin.Status
	v.must(json.Unmarshal(out, &s))
	return s
}

// has is what the server has at present.
func (v *victim) has() harness.Resources {
	v.t.Helper()
	r, err := harness.ResourcesOf(v.PID())
	v.must(err)
	return r
}

// attack is one kind of it.
type attack struct {
	name string
	// attackers is how many there are at a time; each makes its attack again and
	// again.
	attackers int
	// once is one attack. It returns what it found wrong, or nil when the server
	// has ended it. Whoever holds something keeps it until hold is done.
	once func(ctx, hold context.Context, c *client) error
	// rounds is how many attacks there must be at least.
	rounds int64
	addr   func(*victim) string // nil: the listener attacked
	// good is somebody who has business with a service that is attacked, which is
	// not SMTP; nil: it is.
	good func(*victim, context.Context) error
	// memory and files are how much more than before the server may have.
	memory int64
	files  int
}

// run makes the attack.
func (a attack) run(v *victim) {
	t := v.t
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	addr := v.attacked
	if a.addr != nil {
		addr = a.addr(v)
	}
	before, goroutines := v.has(), v.goroutines(ctx)
	sampler := harness.SampleMemory(v.PID())
	hold, release := context.WithCancel(ctx)
	var rounds, held atomic.Int64
	var attackers sync.WaitGroup
	for i := range a.attackers {
		attackers.Go(func() {
			for hold.Err() == nil || rounds.Load() < a.rounds && ctx.Err() == nil {
				c := &client{addr: addr, number: i, ready: func() { held.Add(1) }}
				if err := a.once(ctx, hold, c); err != nil && ctx.Err() == nil {
					t.Errorf("attacker %d: %v", i, err)
					return
				}
				rounds.Add(1)
			}
		})
	}
	err := harness.Until(ctx, "all attackers are at work", func() (bool, error) { return held.Load() >= int64(a.attackers), nil })
	if err != nil {
		t.Error(err)
	}
	during := v.has()
	if n := v.goroutines(ctx); n > goroutines+goroutinesEach*a.files+spareGoroutines {
		t.Errorf("goroutines grew from %d to %d", goroutines, n)
	}
	if a.good == nil {
		v.serve(ctx, addr)
	} else {
		v.must(a.good(v, ctx))
		v.serve(ctx, v.attacked)
	}
	release()
	attackers.Wait()
	peak := sampler.Stop()
	if ctx.Err() != nil {
		t.Errorf("after %d rounds: %v", rounds.Load(), ctx.Err())
	}
	t.Logf("%d rounds; PSS %d KiB before, %d at most; descriptors %d before, %d during; threads %d",
		rounds.Load(), before.PSS>>10, peak>>10, before.Files, during.Files, during.Threads)
	if peak > before.PSS+a.memory {
		t.Errorf("memory grew by %d KiB, the bound is %d", (peak-before.PSS)>>10, a.memory>>10)
	}
	if during.Files > before.Files+a.files {
		t.Errorf("descriptors grew from %d to %d, the bound is %d more", before.Files, during.Files, a.files)
	}
	if during.Threads > maxThreads {
		t.Errorf("%d threads", during.Threads)
	}
	v.recovers(before)
	if n := v.goroutines(ctx); n > goroutines+spareGoroutines {
		t.Errorf("%d goroutines, of %d before, are left", n, goroutines)
	}
}

// goroutines asks the server's metrics how many it has.
func (v *victim) goroutines(ctx context.Context) int {
	v.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.metrics+"/metrics", nil)
	v.must(err)
	response, err := http.DefaultClient.Do(request)
	v.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	v.must(err)
	_, rest, _ := strings.Cut(string(text), "\ngo_goroutines ")
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(number)
	v.must(err)
	return n
}

// goroutinesEach is how many one connection may have: its own, and one that ends
// it when the server stops; spareGoroutines are those of deliveries and of the
// store.
const goroutinesEach, spareGoroutines = 2, 200

// maxThreads: a client costs a goroutine, never a thread. What waits for a disk
// has a thread meanwhile, as much as the store has writers.
const maxThreads = 64

// slack is how many descriptors more the server may have when an attack is
// over: files of the store, and connections kept to the sink.
const slack = 40

// recovers waits until nothing is left of an attack.
func (v *victim) recovers(before harness.Resources) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), limit)
	defer cancel()
	v.must(harness.Until(ctx, "no attacker is connected", func() (bool, error) {
		for _, l := range v.status(ctx).Listeners {
			if l.Connections > 0 {
				return false, nil
			}
		}
		return v.has().Files <= before.Files+slack, nil
	}))
}

package scale

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/pool"
	"postern/test/harness"
)

// most is how many connections a target of the pool below may have.
const most = 5

// crowd holds those who come until there are as many as may be, so that these are seen
// to be there together.
type crowd struct {
	mu      sync.Mutex
	here    int
	full    chan struct{} // closed when they are
	isFull  bool
	largest int
}

func (c *crowd) before(ctx context.Context, verb string) {
	if verb != "DATA" {
		return
	}
	c.mu.Lock()
	c.here++
	c.largest = max(c.largest, c.here)
	if c.here == most && !c.isFull {
		c.isFull = true
		close(c.full)
	}
	c.mu.Unlock()
	select {
	case <-c.full:
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.here--
	c.mu.Unlock()
}

// hubs is a pool of five servers, of which four are each no good in a way of their own.
type hubs struct {
	t      *testing.T
	silent *mailtest.Sink // at DATA
	plain  *mailtest.Sink // without STARTTLS
	forged *mailtest.Sink // with a certificate that nobody vouches for
	good   []*mailtest.Sink
	tls    *tls.Config // of good
	crowd  crowd
	nobody string // where nobody listens
}

func newHubs(t *testing.T) *hubs {
	port, err := harness.FreePort()
	mailtest.Must(t, err)
	good, _ := mailtest.ServerTLS(t, "good.test")
	forged, _ := mailtest.ServerTLS(t, "forged.test")
	h := &hubs{t: t, tls: good, nobody: harness.Loopback(port), crowd: crowd{full: make(chan struct{})}}
	h.silent = mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: good, Before: func(ctx context.Context, verb string) {
		if verb == "DATA" {
			<-ctx.Done()
		}
	}})
	h.plain = mailtest.NewSink(t)
	h.forged = mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: forged})
	h.good = []*mailtest.Sink{mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: good, Before: h.crowd.before})}
	return h
}

// die stops the good server, and comeBack starts it again where it was.
func (h *hubs) die() { h.good[0].Stop() }

func (h *hubs) comeBack() {
	h.good = append(h.good, mailtest.NewSinkWith(h.t, mailtest.SinkOptions{Address: h.good[0].Addr().String(), TLS: h.tls}))
}

// settings are those with which a Postern sends to the pool, to the good server last.
func (h *hubs) settings(dns string) string {
	roots := filepath.Join(directory(h.t), "roots.pem")
	mailtest.Must(h.t, os.WriteFile(roots, mailtest.CertificatePEM(h.tls), 0o600))
	text := fmt.Sprintf(`data_timeout = "1s"
idle_timeout = "1s"
[dns]
servers = [%q]
[routing]
mailhub = "hubs"
[[transport]]
name = "hubs"
kind = "pool"
tls = "verify"
tls_ca_file = %q
connect_retry = "1s"
`, dns, roots)
	for _, at := range []string{h.nobody, h.silent.Addr().String(), h.plain.Addr().String(), h.forged.Addr().String(), h.good[0].Addr().String()} {
		host, port, _ := strings.Cut(at, ":")
		text += fmt.Sprintf("[[target]]\npool = \"hubs\"\naddress = %q\nport = %s\nmax_connections = %d\n", host, port, most)
	}
	return text
}

// targets asks how they stand, by their addresses.
func (in *instance) targets() map[string]pool.Server {
	in.t.Helper()
	out, err := in.Command(in.ctx, "target", "list", "--json").Output()
	mailtest.Must(in.t, err)
	var list struct{ Pools []pool.View }
	mailtest.Must(in.t, json.Unmarshal(out, &list))
	byAddress := make(map[string]pool.Server)
	for _, v := range list.Pools[0].Servers {
		byAddress[v.Address.String()] = v
	}
	return byAddress
}

// messages are n of them, with ids that begin so.
func messages(prefix string, n int) func() *harness.Message {
	var mu sync.Mutex
	made := 0
	to := &site{domain: "anywhere.test"}
	return func() *harness.Message {
		mu.Lock()
		defer mu.Unlock()
		if made == n {
			return nil
		}
		made++
		return letter(fmt.Sprintf("%s-%d", prefix, made-1), to)
	}
}

// TestPoolUnderLoad: of a pool of five servers one refuses connections, one says nothing to
// DATA, one offers no STARTTLS, and one has a bad certificate, with mail that must go by
// verified TLS; the fifth dies under load and comes back. Nothing is lost and nothing goes
// to where it must not; each server is known for what it is; and the good one has all the
// connections that it may have.
func TestPoolUnderLoad(t *testing.T) {
	const before, after = 60, 40
	ctx := bounded(t)
	h := newHubs(t)
	dns := mailtest.NewDNS(t, "test. SOA ns.test. root.test. 1 2 3 4 60\n")
	in := newInstance(ctx, t, harness.PosternOptions{Settings: h.settings(dns.Addr().String())})
	in.start()
	in.submit(messages("before", before))
	if _, err := h.good[0].Wait(ctx, before/3); err != nil {
		t.Fatal(err)
	}
	h.die()
	good := h.good[0].Addr().String()
	in.await("it is known that all are no good", func() bool {
		v := in.targets()
		return v[h.nobody].State == pool.NotUsable && v[h.silent.Addr().String()].State == pool.NotUsable &&
			v[h.forged.Addr().String()].State == pool.NotUsable && v[good].State == pool.NotUsable
	})
	stand := in.targets()
	for at, want := range map[string]string{h.nobody: "refused", h.silent.Addr().String(): "DATA", h.forged.Addr().String(): "certificate", good: "connect"} {
		if v := stand[at]; !strings.Contains(strings.ToLower(v.Reason), strings.ToLower(want)) {
			t.Errorf("%s is not usable because of %q, want %q", at, v.Reason, want)
		}
	}
	if v := stand[h.plain.Addr().String()]; v.State != pool.Active || v.Learned == nil || v.Learned.StartTLS {
		t.Errorf("the server without STARTTLS: %+v", v)
	}
	in.submit(messages("after", after))
	h.comeBack()
	in.await("the queue is empty", func() bool { return len(in.recipients()) == 0 })
	if v := in.targets()[good]; v.State != pool.Active || v.OnTrial || v.Reason != "" {
		t.Errorf("the server that came back: %+v", v)
	}
	h.check(in, before+after)
}

// check asserts what came, and what the journal says of it.
func (h *hubs) check(in *instance, sent int) {
	t := h.t
	came := map[string]bool{}
	for i, sink := range h.good {
		got := sink.Received()
		for _, r := range got {
			came[harness.IDOf(r.Content)] = true
			if !r.TLS {
				t.Errorf("%s came in clear", r.To())
			}
		}
		if i > 0 && len(got) == 0 {
			t.Error("the server that came back got nothing")
		}
	}
	if len(came) != sent {
		t.Errorf("%d of %d messages came", len(came), sent)
	}
	for name, sink := range map[string]*mailtest.Sink{"silent": h.silent, "without STARTTLS": h.plain, "with a bad certificate": h.forged} {
		if n := len(sink.Received()); n > 0 {
			t.Errorf("the server that is %s got %d messages", name, n)
		}
	}
	if h.crowd.largest != most {
		t.Errorf("the good server had %d messages at once, want %d", h.crowd.largest, most)
	}
	v := in.targets()[h.good[0].Addr().String()]
	if v.Sent != uint64(sent) || v.Attempts < v.Sent {
		t.Errorf("%d messages sent with %d attempts, want %d", v.Sent, v.Attempts, sent)
	}
	delivered := 0
	for _, f := range in.stopped() {
		switch f.Reason {
		case mail.ReasonDelivered, mail.ReasonRelayed:
			delivered++
			if f.Address != h.good[0].Addr() {
				t.Errorf("%s was delivered to %s", f.To, f.Address)
			}
		case mail.ReasonBounced, mail.ReasonExpired, mail.ReasonDead:
			t.Errorf("%s: %s", f.Reason, f.To)
		}
	}
	if delivered != sent {
		t.Errorf("%d deliveries, want %d", delivered, sent)
	}
	if !slices.ContainsFunc(in.facts(), func(f mail.Fact) bool { return f.Reason == mail.ReasonTargetUp && f.Address == h.good[0].Addr() }) {
		t.Error("no fact says that the good server is active")
	}
}

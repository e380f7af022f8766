package admin_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/pool"
)

// newPools gives the rig two pools: hubs, with a name of two addresses, and spare.
func newPools(t *testing.T) (*rig, *dns.Memory) {
	t.Helper()
	r, names := newRig(t), new(dns.Memory)
	names.Set("hub.test", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
	settings := func(name string, t pool.Target) pool.Settings {
		return pool.Settings{Name: name, Targets: []pool.Target{t}, Refresh: time.Hour, ConnectRetry: time.Hour, Drain: time.Hour}
	}
	r.pools.Change(pool.Around{Resolver: names}, []pool.Settings{
		settings("hubs", pool.Target{Source: pool.Name, Host: "hub.test", Port: 25, MaxConnections: 5}),
		settings("spare", pool.Target{Source: pool.Address, Host: "2001:db8::1", Port: 25, MaxConnections: 2}),
	})
	return r, names
}

// TestTargets: what is shown of target servers and of all mail, and the names looked up
// again.
func TestTargets(t *testing.T) {
	r, names := newPools(t)
	list, err := r.RefreshTargets(t.Context(), "")
	if err != nil || len(list.Pools) != 2 || len(list.Pools[0].Servers) != 2 || list.Pools[0].Room != 10 || list.Pools[1].Usable != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	names.Set("hub.test", netip.MustParseAddr("192.0.2.2"))
	if list, err = r.RefreshTargets(t.Context(), "spare"); err != nil || len(list.Pools[0].Servers) != 2 {
		t.Errorf("of another pool: %+v, %v", list, err)
	}
	if _, err = r.RefreshTargets(t.Context(), "hubs"); err != nil {
		t.Error(err)
	}
	r.accept(t, new(mail.IDs), "a@x.example", "b@y.example")
	if list, err = r.ListTargets(t.Context()); err != nil || len(list.Pools[0].Servers) != 1 || list.Global.Retry != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if found, err := r.Target(t.Context(), "spare/[2001:db8::1]:25"); err != nil || len(found.Servers) != 1 || found.Servers[0].MaxConnections != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestActOnTargets: each act is told of, with who did it.
func TestActOnTargets(t *testing.T) {
	r, _ := newPools(t)
	if _, err := r.RefreshTargets(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	r.told.Take()
	if found, err := r.ReconnectTarget(t.Context(), "hub.test"); err != nil || len(found.Servers) != 2 {
		t.Errorf("reconnected: %+v, %v", found, err)
	}
	if found, err := r.DrainTarget(t.Context(), "192.0.2.1:25", false); err != nil || found.Servers[0].Drained != me(t) {
		t.Errorf("drained: %+v, %v", found, err)
	}
	if found, err := r.DrainTarget(t.Context(), "hubs", true); err != nil || len(found.Servers) != 2 || found.Servers[0].Drained != "" {
		t.Errorf("no longer: %+v, %v", found, err)
	}
	facts := r.told.Take()
	if len(facts) != 4 {
		t.Fatalf("facts: %+v", facts)
	}
	for i, want := range []string{"reconnected by ", "reconnected by ", "drained by ", "no longer drained, by "} {
		if f := facts[i]; f.Reason != mail.ReasonTargetChanged || f.Text != want+me(t) || f.Route != "hubs" {
			t.Errorf("%+v, want %s", f, want)
		}
	}
}

func TestNoSuchTarget(t *testing.T) {
	r, _ := newPools(t)
	_, one := r.Target(t.Context(), "192.0.2.77")
	_, drained := r.DrainTarget(t.Context(), "hubs/other.test", false)
	_, anew := r.ReconnectTarget(t.Context(), "x")
	_, refreshed := r.RefreshTargets(t.Context(), "hub")
	for _, err := range []error{one, drained, anew, refreshed} {
		if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != 404 || !strings.Contains(p.Error(), "no such") {
			t.Errorf("%v", err)
		}
	}
	if !strings.Contains(refreshed.Error(), "hubs, spare") {
		t.Errorf("%v", refreshed)
	}
}

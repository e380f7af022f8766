package attack

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"postern/test/harness"
)

// descriptors is how many the process may have: fewer than clients, next
// servers and the store would like to have together.
const descriptors = 256

// TestDescriptors: clients who open more connections than the process may have
// descriptors shut each other out, and nothing else: the store works, what was
// accepted is delivered, and when they have gone everybody is served.
func TestDescriptors(t *testing.T) {
	v := newVictim(t)
	wrapper := filepath.Join(filepath.Dir(v.Binary()), "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d && exec %s \"$@\"\n", descriptors, v.Binary())
	v.must(os.WriteFile(wrapper, []byte(script), 0o755))
	v.must(v.StartAs(t.Context(), wrapper))
	v.stopAtEnd()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	before := v.has()

	// A client that was there before is served while no other can be.
	var next int
	var mu sync.Mutex
	source := harness.Source{Addr: v.attacked, Sessions: 1, Keep: true, From: goodClient, Next: func() *harness.Message {
		mu.Lock()
		defer mu.Unlock()
		if next++; next > goodMessages {
			return nil
		}
		if next == 2 {
			v.exhaust(ctx)
		}
		id := fmt.Sprintf("kept-%d", next)
		return &harness.Message{ID: id, From: "good@source.example", To: []string{"b@elsewhere.example"},
			Content: append(harness.Header(id, "good@source.example", "b@elsewhere.example"), harness.Text(100<<10)...)}
	}}
	v.must(source.Run(ctx))
	v.must(harness.Until(ctx, "the mail of the client arrives", func() (bool, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.arrived) == goodMessages, nil
	}))
	if !v.Running() {
		t.Fatalf("the server has ended: %v", v.State())
	}
	v.release()
	v.serve(ctx, v.attacked)
	v.recovers(before)
}

// exhaust opens more connections than the server can have, and keeps them.
func (v *victim) exhaust(ctx context.Context) {
	v.t.Helper()
	for i := range 2 * descriptors {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%200))}}
		conn, err := d.DialContext(ctx, "tcp", v.crowded)
		v.must(err)
		v.kept = append(v.kept, conn)
	}
	v.must(harness.Until(ctx, "half of the descriptors are in use", func() (bool, error) { return v.has().Files >= descriptors/2, nil }))
}

// release closes what exhaust keeps.
func (v *victim) release() {
	for _, conn := range v.kept {
		conn.Close()
	}
}

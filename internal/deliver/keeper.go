package deliver

import (
	"context"
	"sync"
	"time"

	"postern/internal/queue"
)

// keeper renews the leases of one transaction for as long as it takes.
type keeper struct {
	d      *Deliverer
	leases []queue.Lease

	mu      sync.Mutex
	timer   *time.Timer
	until   time.Time // how long the leases last unless they are renewed
	stopped bool
	lost    error
}

// keep renews the leases at every third of their time until stop is called.
func (d *Deliverer) keep(leases []queue.Lease) *keeper {
	k := &keeper{d: d, leases: leases, until: leases[0].Until}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(lease/3, k.renew)
	return k
}

func (k *keeper) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped || k.lost != nil {
		return
	}
	k.prolong()
	if k.lost == nil {
		k.timer.Reset(lease / 3)
	}
}

// prolong renews the leases, or notes that they are lost. mu is held.
func (k *keeper) prolong() {
	until := k.d.Clock.Now().Add(lease)
	if k.lost = k.d.Store.Renew(context.Background(), k.leases, until); k.lost != nil {
		k.d.Logger.Warn("lease lost", "message", k.leases[0].Entry.ID, "error", k.lost)
		return
	}
	k.until = until
}

// stop ends the renewing; when it returns none is under way.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}

// err returns why the leases are lost; nil while they are held. It is asked
// before the final dot: whoever has lost a lease must not send it. A process
// that was stopped for a while may ask before its timer runs; and when the clock
// was set meanwhile, the time that was noted says nothing.
func (k *keeper) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.until.Sub(k.d.Clock.Now())
	if k.lost == nil && (left <= 0 || left > lease) {
		k.prolong()
	}
	return k.lost
}

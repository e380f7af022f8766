package dns

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
)

// NamerOptions are what a Namer needs. Resolver is required.
type NamerOptions struct {
	// Resolver returns whom to ask at present.
	Resolver func() Resolver
	// MaxLookups is how many addresses are looked up at a time (100); more are not.
	MaxLookups int
	// Timeout bounds the time for one (10 s).
	Timeout time.Duration
}

// Namer finds out the names of clients, aside: nobody waits for it, and a name that
// comes too late, or from nowhere, is just not known. It is safe for use by several
// goroutines.
type Namer struct {
	NamerOptions
	ctx     context.Context
	stop    context.CancelFunc
	slots   chan struct{}
	running sync.WaitGroup
}

// maxNamesTried is how many names of an address are looked up: an address can have
// thousands.
const maxNamesTried = 3

// NewNamer returns a Namer; Close ends it.
func NewNamer(o NamerOptions) *Namer {
	if o.MaxLookups == 0 {
		o.MaxLookups = 100
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	n := &Namer{NamerOptions: o, slots: make(chan struct{}, o.MaxLookups)}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// Naming is an address whose name is looked up. A nil one has no name.
type Naming struct{ name atomic.Pointer[string] }

// Name returns the name of the address if it is known by now, else "". It never waits.
func (n *Naming) Name() string {
	if n == nil {
		return ""
	}
	if name := n.name.Load(); name != nil {
		return *name
	}
	return ""
}

// Begin begins to look up the name of an address, and returns at once. Nothing is
// looked up for a loopback address, when there are too many at it, and after Close.
func (n *Namer) Begin(ip netip.Addr) *Naming {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || ip.IsLoopback() || n.ctx.Err() != nil {
		return nil
	}
	select {
	case n.slots <- struct{}{}:
	default:
		return nil
	}
	naming := new(Naming)
	n.running.Go(func() {
		defer func() { <-n.slots }()
		ctx, cancel := context.WithTimeout(n.ctx, n.Timeout)
		defer cancel()
		if name := confirmedName(ctx, n.Resolver(), ip); name != "" {
			naming.name.Store(&name)
		}
	})
	return naming
}

// confirmedName returns the first name of an address that leads back to it: whoever has
// an address can give it any name. It is "" when there is none, or nobody answers.
func confirmedName(ctx context.Context, r Resolver, ip netip.Addr) string {
	names, err := r.LookupName(ctx, ip)
	if err != nil {
		return ""
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), maxNamesTried)] {
		if mail.CheckDomain(name) != nil {
			continue
		}
		if at, err := r.LookupAddr(ctx, name+"."); err == nil && slices.Contains(at, ip) {
			return name
		}
	}
	return ""
}

// Close ends all look-ups, and waits for them.
func (n *Namer) Close() {
	n.stop()
	n.running.Wait()
}

package pool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"postern/internal/dns"
)

// Refresh looks the names of a pool up now, of all pools when name is empty, whatever is remembered
// of them, and returns how these stand then. It fails with ErrNoPool, or with the error of ctx.
func (s *Set) Refresh(ctx context.Context, name string) ([]View, error) {
	s.mu.Lock()
	pools := s.all()
	if name != "" {
		p := s.pools[name]
		if p == nil {
			known := strings.Join(slices.Sorted(maps.Keys(s.pools)), ", ")
			s.mu.Unlock()
			return nil, fmt.Errorf("%w: %q; there is %s", ErrNoPool, name, orNone(known))
		}
		pools = []*Pool{p}
	}
	s.mu.Unlock()
	errs := make([]error, len(pools))
	var running sync.WaitGroup
	for i, p := range pools {
		running.Go(func() { errs[i] = p.resolve(dns.Afresh(ctx), func() bool { return false }) })
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	views := []View{}
	for _, p := range pools {
		views = append(views, p.view())
	}
	return views, nil
}

func orNone(list string) string {
	if list == "" {
		return "none: no [[transport]] has kind = \"pool\""
	}
	return list
}

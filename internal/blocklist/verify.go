package blocklist

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/config"
	"postern/internal/dns"
)

// Verify asks each list for what every list must have, and for what none may have
// (RFC 5782 5), and returns what is wrong; nothing when all is well.
func (s *Set) Verify(ctx context.Context) []config.Problem {
	var found []config.Problem
	for _, m := range s.lists {
		if problem, wrong := s.verify(ctx, m); wrong {
			found = append(found, problem)
		}
	}
	return found
}

func (s *Set) verify(ctx context.Context, m *member) (config.Problem, bool) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	const without = "a list that fails is left out, and nobody is listed by it"
	there, err := s.options.Resolver.LookupIPv4(ctx, m.alwaysListed())
	never, errNever := s.lookup(ctx, m, m.neverListed())
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return m.Problem("block_list.zone", fmt.Sprintf("%s is not listed, which every list has (RFC 5782 5)", m.alwaysListed()),
			"is the zone written rightly, and does the list still exist?"), true
	case err != nil:
		return m.Problem("block_list.zone", err.Error(), without), true
	case !config.IsBlockAnswer(there[0]):
		return m.Problem("block_list.zone", fmt.Sprintf("%v (%s)", errRefuses, there[0]),
			"lists refuse name servers that everybody uses: ask it by one of your own (dns.servers), or with the key that you were given"), true
	case errNever != nil:
		return m.Problem("block_list.zone", errNever.Error(), without), true
	case never != nil:
		return m.Problem("block_list.zone", fmt.Sprintf("%v (%s)", errLies, m.neverListed()), "leave it out: its zone may have another owner now"), true
	}
	return config.Problem{}, false
}

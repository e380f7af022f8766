package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestHasTransport: a name that is none is told with some that are, however long it is, and however
// many there are.
func TestHasTransport(t *testing.T) {
	var known []string
	for i := range 1000 {
		known = append(known, fmt.Sprint("t", i))
	}
	s := &Server{Options: Options{Transports: func() []string { return known }}}
	if err := s.hasTransport("t999"); err != nil {
		t.Error(err)
	}
	err := s.hasTransport(strings.Repeat("x", 70_000))
	if err == nil || !strings.HasPrefix(err.Error(), `there is no transport "xxx`) || !strings.HasSuffix(err.Error(), ", t19 and 980 more") || len(err.Error()) > 250 {
		t.Errorf("%.300v", err)
	}
	known = known[:2]
	if err := s.hasTransport("x"); err == nil || err.Error() != `there is no transport "x"; there are t0, t1` {
		t.Error(err)
	}
}

package tlspolicy

import (
	"testing"

	"postern/internal/mail"
)

func TestDemand(t *testing.T) {
	for _, c := range []struct {
		policy Level
		demand mail.TLSDemand
		want   Level
	}{
		{None, "", None},
		{None, mail.TLSRequired, Required},
		{Opportunistic, mail.TLSRequired, Required},
		{Verify, mail.TLSRequired, Verify},
		{Required, mail.TLSVerified, Verify},
		{Verify, "", Verify},
		{None, "of tomorrow", Verify},
		{"of tomorrow", mail.TLSVerified, "of tomorrow"},
	} {
		if got := (Policy{Level: c.policy}).Demand(c.demand).Level; got != c.want {
			t.Errorf("%q under the demand %q is %q, want %q", c.policy, c.demand, got, c.want)
		}
	}
}

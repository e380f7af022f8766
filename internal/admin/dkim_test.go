package admin_test

import (
	"context"
	"testing"
	"testing/synctest"

	"postern/internal/admin"
	"postern/internal/alignment"
)

// TestCheckDomainWithoutDNS: where nothing answers, the client hears what was found out, and not
// that the server takes too long.
func TestCheckDomainWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := admin.NewKeysInside(admin.Options{Alignment: func(ctx context.Context, domain string) (*alignment.Alignment, error) {
			<-ctx.Done() // as a question to DNS ends
			return &alignment.Alignment{Domain: domain, Findings: []alignment.Finding{{Text: "DNS does not answer"}}}, nil
		}})
		r, err := inside.Client.CheckDomain(t.Context(), "a.example")
		if err != nil || len(r.Findings) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := inside.Close(); err != nil {
			t.Error(err)
		}
	})
}

package cli

import (
	"context"
	"strings"
	"time"

	"postern/internal/admin"
)

// refusals returns what says why a credential is not shown to a host at present, as the server that runs
// knows. Without one, and for a credential that this does not have, nothing is known.
func (a *app) refusals(ctx context.Context) func(credential, host string) string {
	client, err := a.client()
	if err != nil {
		return nil
	}
	known := make(map[string]admin.Credential)
	return func(credential, host string) string {
		record, asked := known[credential]
		if !asked {
			if got, err := client.Credentials().Get(ctx, admin.RecordName{Name: credential}); err == nil {
				record = got
			}
			known[credential] = record
		}
		return refusalBy(host, &record)
	}
}

// refusalBy is what keeps a credential from being shown to a host; "" for nothing.
func refusalBy(host string, c *admin.Credential) string {
	for _, t := range c.Troubles {
		switch {
		case t.Host == "":
			return "fails " + sinceWhen(t.Since, t.Why, t.Next)
		case strings.EqualFold(t.Host, host):
			return "is refused " + sinceWhen(t.Since, t.Why, t.Next)
		}
	}
	return ""
}

// sinceWhen says since when there is a trouble, why, and until when.
func sinceWhen(since time.Time, why string, next time.Time) string {
	text := "since " + timeOrNone(since) + ": " + why
	if !next.IsZero() {
		text += "; tried again at " + timeOrNone(next)
	}
	return text
}

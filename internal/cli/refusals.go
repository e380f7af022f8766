package cli

import (
	"context"
	"strings"

	"postern/internal/admin"
	"postern/internal/credentials"
)

// refusals returns what says why a credential is not shown to a host at present, as the server that runs
// knows. Without one, and for a credential that this does not have, nothing is known.
func (a *app) refusals(ctx context.Context) func(credential, host string) string {
	client, err := a.client()
	if err != nil {
		return nil
	}
	known := make(map[string][]credentials.Trouble)
	return func(credential, host string) string {
		troubles, asked := known[credential]
		if !asked {
			record, err := client.Credentials().Get(ctx, admin.RecordName{Name: credential})
			if err == nil {
				troubles = record.Troubles
			}
			known[credential] = troubles
		}
		return refusalBy(host, troubles)
	}
}

// refusalBy is what keeps a credential from being shown to a host; "" for nothing.
func refusalBy(host string, troubles []credentials.Trouble) string {
	for _, t := range troubles {
		switch {
		case t.Host == "":
			return "fails " + sinceWhen(&t)
		case strings.EqualFold(t.Host, host):
			return "is refused " + sinceWhen(&t)
		}
	}
	return ""
}

// sinceWhen says since when there is a trouble, why, and until when.
func sinceWhen(t *credentials.Trouble) string {
	text := "since " + timeOrNone(t.Since) + ": " + t.Why
	if !t.Next.IsZero() {
		text += "; tried again at " + timeOrNone(t.Next)
	}
	return text
}

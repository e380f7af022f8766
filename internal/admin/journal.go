package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/journal"
	"postern/internal/mail"
)

func (s *Server) journalOperations() {
	stream(s, huma.Operation{OperationID: "journal", Method: http.MethodGet, Path: "/v1/journal",
		Summary: "Facts of the journal, oldest first"}, s.journal)
}

type journalInput struct {
	Message string    `query:"message" doc:"Only the facts of this message, and of reports about it"`
	From    string    `query:"from" doc:"Only facts with this sender, in which * stands for anything; <> is that of reports"`
	To      string    `query:"to" doc:"Only facts with such a recipient, in which * stands for anything"`
	Reason  []string  `query:"reason,explode" doc:"Only facts with one of these reasons"`
	Since   time.Time `query:"since" doc:"Only what happened then, or later"`
	Last    int       `query:"last" default:"-1" minimum:"-1" maximum:"10000" doc:"How many of the last; -1 for all"`
	Follow  bool      `query:"follow" doc:"Go on with what happens from now, until the client leaves or the server ends"`
}

// journal streams facts, each at once when the client follows.
func (s *Server) journal(ctx context.Context, in *journalInput, out *lines[mail.Fact]) error {
	query, err := in.query()
	if err != nil {
		return err
	}
	if err := out.begin(); err != nil {
		return nil // the client has left
	}
	if in.Follow {
		return s.Journal.Follow(ctx, query, out.sendNow)
	}
	s.catchUp(ctx)
	return s.Journal.Read(ctx, query, out.send)
}

// catchUpTime is how long a reader waits for what is not yet in the journal. What is not there by then,
// because the journal cannot be written, it does not see.
const catchUpTime = 5 * time.Second

// catchUp lets whoever has just heard of something find it in the journal.
func (s *Server) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	if err := s.Journal.CatchUp(ctx); err != nil {
		s.Logger.Warn("the journal is read without what just happened", "error", err)
	}
}

func (in *journalInput) query() (q journal.Query, err error) {
	if in.Message != "" {
		if q.Message, err = parseID(in.Message); err != nil {
			return q, err
		}
	}
	for _, name := range in.Reason {
		r := mail.Reason(name)
		if !slices.Contains(mail.Reasons, r) {
			return q, badRequest(fmt.Errorf("reason %q: there is no such reason", name))
		}
		q.Reasons = append(q.Reasons, r)
	}
	q.From, q.To, q.Since = in.From, in.To, in.Since
	switch in.Last {
	case -1: // all, which is 0 in a Query
	case 0:
		q.Last = -1
	default:
		q.Last = in.Last
	}
	return q, nil
}

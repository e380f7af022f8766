package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/senders"
)

// Source is a source of mail, and Ownership what an operator says of one.
type (
	Source    = senders.Sender
	Ownership = senders.Ownership
)

// SenderQuery says which sources are listed.
type SenderQuery struct {
	Match      string    `query:"match" maxLength:"320" doc:"Only those in whose name, addresses, domains or notes this text is, in whatever case"`
	Unassigned bool      `query:"unassigned" doc:"Only those of which nobody knows whose they are"`
	AtRisk     bool      `query:"at_risk" doc:"Only those for which something will break"`
	Since      time.Time `query:"since" doc:"Only those that were seen since then"`
	New        time.Time `query:"new" doc:"Only those that were seen for the first time since then"`
	Order      string    `query:"order" enum:"messages,recipients,octets,last,first,source" default:"messages" doc:"The most or the latest first; source is by name"`
	Limit      int       `query:"limit" minimum:"0" default:"0" doc:"At most so many; 0 for all"`
}

type senderInput struct {
	Source string `path:"source" maxLength:"300" doc:"The source, as the listing has it"`
}

type assignSenderInput struct {
	Source string `path:"source" maxLength:"300" doc:"The source, as the listing has it"`
	Body   Ownership
}

func (s *Server) senderOperations() {
	stream(s, huma.Operation{OperationID: "senders", Method: http.MethodGet, Path: "/v1/senders",
		Summary: "Who sends mail by this host"}, s.senders)
	answer(s, huma.Operation{OperationID: "show-sender", Method: http.MethodGet, Path: "/v1/senders/{source}",
		Summary: "One source of mail"}, s.showSender)
	answer(s, huma.Operation{OperationID: "assign-sender", Method: http.MethodPatch, Path: "/v1/senders/{source}",
		Summary: "Say whose a source of mail is; what is not given stays"}, s.assignSender)
	act(s, huma.Operation{OperationID: "forget-sender", Method: http.MethodDelete, Path: "/v1/senders/{source}",
		Summary: "Forget all that is kept of a source of mail"}, s.forgetSender)
}

func (s *Server) senders(_ context.Context, in *SenderQuery, out *lines[RecordLine[Source]]) error {
	for _, found := range s.Records.Senders.List(senders.Filter{
		Match: in.Match, Unassigned: in.Unassigned, AtRisk: in.AtRisk, Since: in.Since, New: in.New,
		Order: senders.Order(in.Order), Limit: in.Limit,
	}) {
		if out.send(RecordLine[Source]{Record: &found}) != nil {
			return nil // the client has left
		}
	}
	return nil
}

func (s *Server) showSender(_ context.Context, in *senderInput) (Source, error) {
	found, err := s.Records.Senders.Get(in.Source)
	return found, senderProblem(err)
}

func (s *Server) assignSender(ctx context.Context, in *assignSenderInput) (Source, error) {
	done, err := s.Records.Senders.Assign(ctx, actor(ctx), in.Source, in.Body)
	return done, senderProblem(err)
}

func (s *Server) forgetSender(ctx context.Context, in *senderInput) error {
	return senderProblem(s.Records.Senders.Forget(ctx, in.Source))
}

func senderProblem(err error) error {
	if errors.Is(err, senders.ErrSource) {
		return badRequest(err)
	}
	return recordProblem(err)
}

// Senders calls each for the sources of mail that a query selects, in its order.
func (c *Client) Senders(ctx context.Context, q SenderQuery, each func(*Source) error) error {
	v := url.Values{}
	set(v, "match", q.Match)
	set(v, "order", q.Order)
	for name, is := range map[string]bool{"unassigned": q.Unassigned, "at_risk": q.AtRisk} {
		if is {
			v.Set(name, "true")
		}
	}
	for name, at := range map[string]time.Time{"since": q.Since, "new": q.New} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return readLines(ctx, c, request{method: http.MethodGet, path: "/v1/senders", values: v}, func(l *RecordLine[Source]) error {
		if l.Record == nil {
			return nil
		}
		return each(l.Record)
	})
}

func senderPath(source string) string { return "/v1/senders/" + url.PathEscape(source) }

// Sender returns a source of mail. Errors: a Problem with status 404 when there is none.
func (c *Client) Sender(ctx context.Context, source string) (found Source, err error) {
	return found, c.get(ctx, request{method: http.MethodGet, path: senderPath(source)}, &found)
}

// AssignSender says whose a source is. Errors: a Problem with status 404 when there is no such
// source or user, 422 when it cannot be that user's.
func (c *Client) AssignSender(ctx context.Context, source string, a Ownership) (done Source, err error) {
	return done, c.get(ctx, request{method: http.MethodPatch, path: senderPath(source), body: a}, &done)
}

// ForgetSender forgets a source. Errors: a Problem with status 404 when there is none.
func (c *Client) ForgetSender(ctx context.Context, source string) error {
	return c.tell(ctx, request{method: http.MethodDelete, path: senderPath(source)})
}

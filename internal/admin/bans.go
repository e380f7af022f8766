package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/directory"
)

// Ban is a ban of the directory, as the API has it.
type Ban = directory.Ban

// NewBan is a ban that an operator sets.
type NewBan struct {
	Subject string `json:"subject" minLength:"1" maxLength:"300" doc:"address: and an address or network, or account: and a login"`
	// Until is when it ends; zero is when it is lifted.
	Until  time.Time `json:"until,omitzero" doc:"When it ends; without it, when it is lifted"`
	Reason string    `json:"reason,omitempty" maxLength:"200" doc:"Why, for whoever finds it"`
}

type newBanInput struct{ Body NewBan }

type banInput struct {
	Subject string `path:"subject" maxLength:"300" doc:"The subject, as the listing has it"`
}

func (s *Server) banOperations() {
	stream(s, huma.Operation{OperationID: "bans", Method: http.MethodGet, Path: "/v1/bans",
		Summary: "The bans that hold now, in order of their subjects"}, s.bans)
	answer(s, huma.Operation{OperationID: "add-ban", Method: http.MethodPost, Path: "/v1/bans",
		Summary: "Keep an address, a network or an account out; in the place of a ban that there is"}, s.addBan)
	act(s, huma.Operation{OperationID: "lift-ban", Method: http.MethodDelete, Path: "/v1/bans/{subject}",
		Summary: "Lift a ban, and forget what led to it"}, s.liftBan)
}

func (s *Server) bans(_ context.Context, _ *struct{}, out *lines[RecordLine[Ban]]) error {
	for _, b := range s.Records.Directory.Bans() {
		if out.send(RecordLine[Ban]{Record: &b}) != nil {
			return nil // the client has left
		}
	}
	return nil
}

func (s *Server) addBan(ctx context.Context, in *newBanInput) (Ban, error) {
	b := Ban{Subject: in.Body.Subject, Until: in.Body.Until, Reason: in.Body.Reason, Since: s.Clock.Now()}
	if !b.Active(b.Since) {
		return Ban{}, &Problem{Status: http.StatusUnprocessableEntity, Title: "Not possible", Detail: "the ban ends before it begins"}
	}
	err := s.Records.Directory.Change(ctx, actor(ctx), func(tx *directory.Tx) error {
		if err := tx.PutBan(b); err != nil {
			return err
		}
		subject, err := directory.Subject(b.Subject)
		b.Subject = subject
		return err
	})
	return b, recordProblem(err)
}

func (s *Server) liftBan(ctx context.Context, in *banInput) error {
	subject, err := directory.Subject(in.Subject)
	if err != nil {
		return badRequest(err)
	}
	err = s.Records.Directory.Change(ctx, actor(ctx), func(tx *directory.Tx) error { return tx.DeleteBan(subject) })
	if err == nil && s.Records.Lifted != nil {
		s.Records.Lifted(subject)
	}
	return recordProblem(err)
}

// Bans calls each for the bans that hold now, in order of their subjects.
func (c *Client) Bans(ctx context.Context, each func(*Ban) error) error {
	return readLines(ctx, c, request{method: http.MethodGet, path: "/v1/bans"}, func(l *RecordLine[Ban]) error {
		if l.Record == nil {
			return nil
		}
		return each(l.Record)
	})
}

// AddBan bans a subject, and returns the ban as it is stored.
func (c *Client) AddBan(ctx context.Context, b NewBan) (done Ban, err error) {
	return done, c.get(ctx, post("/v1/bans", b), &done)
}

// LiftBan lifts a ban. Errors: a Problem with status 404 when there is none.
func (c *Client) LiftBan(ctx context.Context, subject string) error {
	return c.tell(ctx, request{method: http.MethodDelete, path: "/v1/bans/" + url.PathEscape(subject)})
}

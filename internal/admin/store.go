package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// progressEvery is how often something long tells how far it has come.
const progressEvery = 200 * time.Millisecond

func (s *Server) storeOperations() {
	answer(s, huma.Operation{OperationID: "store", Method: http.MethodGet, Path: "/v1/store",
		Summary: "What the store takes on the disk, and what is in it"}, s.stat)
	answer(s, huma.Operation{OperationID: "damaged", Method: http.MethodGet, Path: "/v1/store/damaged",
		Summary: "Messages that were set aside as damaged, in order of id"}, s.damaged)
	stream(s, huma.Operation{OperationID: "verify", Method: http.MethodPost, Path: "/v1/store/verify",
		Summary: "Read everything in the store and check it; it ends when the client leaves"}, s.verify)
}

// Paging selects a page of a list. It is exported for huma, which looks into
// embedded structs only then.
type Paging struct {
	After string `query:"after" doc:"The id behind which to go on"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"At most this many"`
}

func (in *Paging) page() queue.Page { return queue.Page{After: mail.ID(in.After), Limit: in.Limit} }

// damaged lists the entries that were set aside.
func (s *Server) damaged(ctx context.Context, in *Paging) ([]queue.Damaged, error) {
	list, err := s.Queue.Damaged(ctx, in.page())
	if list == nil {
		list = []queue.Damaged{}
	}
	return list, err
}

func (s *Server) stat(ctx context.Context, _ *struct{}) (queue.Stat, error) { return s.Store.Stat(ctx) }

// verify streams its progress; the last line has the result.
func (s *Server) verify(ctx context.Context, _ *struct{}, out *lines[VerifyLine]) error {
	if err := out.begin(); err != nil {
		return nil // the client has left
	}
	var pace pace
	verified, err := s.Store.Verify(ctx, func(p queue.Progress) {
		if pace.now() {
			_ = out.sendNow(VerifyLine{Progress: &p}) // fails when the client has left, and the context ends
		}
	})
	if err != nil {
		return err
	}
	return out.send(VerifyLine{Verified: &verified})
}

// pace tells when progress is to be told again.
type pace struct{ last time.Time }

func (p *pace) now() bool {
	now := time.Now()
	if now.Sub(p.last) <= progressEvery {
		return false
	}
	p.last = now
	return true
}

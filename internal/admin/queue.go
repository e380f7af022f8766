package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

func (s *Server) queueOperations() {
	answer(s, huma.Operation{OperationID: "queue", Method: http.MethodGet, Path: "/v1/queue",
		Summary: "Messages in the queue, in order of id, which is that of acceptance"}, s.list)
	answer(s, huma.Operation{OperationID: "message", Method: http.MethodGet, Path: "/v1/queue/{id}",
		Summary: "One message in the queue"}, s.entry)
}

type listInput struct {
	Paging
	State       []mail.State `query:"state,explode"`
	Sender      string       `query:"sender"`
	Recipient   string       `query:"recipient"`
	Destination string       `query:"destination"`
}

func (s *Server) list(ctx context.Context, in *listInput) ([]queue.Entry, error) {
	f := queue.Filter{States: in.State, Sender: in.Sender, Recipient: in.Recipient, Destination: mail.Destination(in.Destination)}
	entries, err := s.Queue.List(ctx, f, in.page())
	if entries == nil {
		entries = []queue.Entry{}
	}
	return entries, err
}

type messageInput struct {
	ID string `path:"id" doc:"The id that the client was told"`
}

func (s *Server) entry(ctx context.Context, in *messageInput) (queue.Entry, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return queue.Entry{}, err
	}
	entry, err := s.Queue.Get(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return queue.Entry{}, notQueued(id)
	}
	return entry, err
}

package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/quarantine"
	"postern/internal/queue"
)

// QuarantineLine is a line of a listing of the quarantine: one of its members is
// set.
type QuarantineLine struct {
	Item     *quarantine.Item `json:"item,omitempty"`
	Progress *queue.Progress  `json:"progress,omitempty"` // in messages
	Problem  *Problem         `json:"problem,omitempty"`  // in the last line
}

func (l *QuarantineLine) failed() *Problem { return l.Problem }

// Header is the header of a message.
type Header struct {
	Fields []HeaderField `json:"fields"`
	// Cut says that there is more, which is not shown.
	Cut bool `json:"cut,omitempty"`
}

// HeaderField is a field of a header.
type HeaderField struct {
	Name string `json:"name"`
	// Value is unfolded. What is not UTF-8 in it is U+FFFD.
	Value string `json:"value"`
	// Decoded is the value with its encoded words decoded; empty when that is the
	// same.
	Decoded string `json:"decoded,omitempty"`
}

func (s *Server) quarantineOperations() {
	stream(s, huma.Operation{OperationID: "quarantine", Method: http.MethodGet, Path: "/v1/quarantine",
		Summary: "Messages in quarantine, in order of id, each in short"}, s.quarantine)
	answer(s, huma.Operation{OperationID: "header", Method: http.MethodGet, Path: "/v1/messages/{id}/header",
		Summary: "The header of a message in the queue, its first 64 KiB"}, s.header)
}

// quarantine streams what is in quarantine and what the filter selects of that.
func (s *Server) quarantine(ctx context.Context, in *listInput, out *lines[QuarantineLine]) error {
	w := walk{filter: quarantine.Filter(in.Filter), after: mail.ID(in.After), progress: func(p queue.Progress) error {
		return out.sendNow(QuarantineLine{Progress: &p})
	}}
	left := in.Limit
	return s.walk(ctx, w, func(e *queue.Entry, selector *queue.Selector) error {
		selector.Reduce(e)
		item := quarantine.Describe(ctx, s.Queue, e)
		err := out.send(QuarantineLine{Item: &item})
		if left--; left == 0 {
			return errors.Join(err, errEnough)
		}
		return err
	})
}

func (s *Server) header(ctx context.Context, in *messageInput) (Header, error) {
	h := Header{Fields: []HeaderField{}}
	entry, err := s.get(ctx, in.ID)
	if err != nil {
		return h, err
	}
	header, cut, err := quarantine.ReadHeader(ctx, s.Queue, entry.Body)
	for f := range header.Fields() {
		field := HeaderField{Name: f.Name(), Value: f.Value()}
		if text, _ := message.DecodeText(field.Value); text != field.Value {
			field.Decoded = text
		}
		h.Fields = append(h.Fields, field)
	}
	h.Cut = cut
	return h, err
}

// Quarantine calls each for every message in quarantine of which the filter
// selects a recipient, in order of id; progress is told meanwhile.
func (c *Client) Quarantine(ctx context.Context, l Listing, progress func(queue.Progress), each func(*quarantine.Item) error) error {
	return readLines(ctx, c, request{method: http.MethodGet, path: "/v1/quarantine", values: l.values()}, func(l *QuarantineLine) error {
		if l.Item != nil {
			return each(l.Item)
		}
		tell(progress, l.Progress)
		return nil
	})
}

// Header returns the header of a message in the queue. Errors: a Problem with
// status 404.
func (c *Client) Header(ctx context.Context, id mail.ID) (h Header, err error) {
	return h, c.get(ctx, request{method: http.MethodGet, path: messagePath(id) + "/header"}, &h)
}

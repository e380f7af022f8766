package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Queue is the queue, as an operator has it.
type Queue interface {
	queue.Reader
	queue.Editor
	queue.Marks
}

// Message is a message in the queue, and what holds it up at present.
type Message struct {
	queue.Entry
	// Attempting are the destinations of which an attempt is under way.
	Attempting []mail.Destination `json:"attempting"`
	// Suspensions are those that the message waits for.
	Suspensions []Suspension `json:"suspensions"`
}

// ListLine is a line of a listing: one of its members is set.
type ListLine struct {
	// Entry has those of its recipients that the filter selects.
	Entry    *queue.Entry    `json:"entry,omitempty"`
	Progress *queue.Progress `json:"progress,omitempty"` // in messages
	Problem  *Problem        `json:"problem,omitempty"`  // in the last line
}

func (s *Server) queueOperations() {
	stream(s, huma.Operation{OperationID: "list", Method: http.MethodGet, Path: "/v1/queue",
		Summary: "Messages in the queue, in order of id, which is that of acceptance"}, s.list)
	answer(s, huma.Operation{OperationID: "message", Method: http.MethodGet, Path: "/v1/messages/{id}",
		Summary: "One message in the queue"}, s.message)
	s.contentOperation()
	stream(s, huma.Operation{OperationID: "shape", Method: http.MethodGet, Path: "/v1/queue/shape",
		Summary: "How many recipients wait, by destination and age"}, s.shape)
	stream(s, huma.Operation{OperationID: "count", Method: http.MethodPost, Path: "/v1/queue/count",
		Summary: "What a filter selects, and a change would change; nothing is changed"}, s.count)
	stream(s, huma.Operation{OperationID: "edit", Method: http.MethodPost, Path: "/v1/queue/edit",
		Summary: "Change all recipients that a filter selects. Once begun it goes on when the client leaves, and after a crash"}, s.edit)
}

type listInput struct {
	Filter string `query:"filter" doc:"Which recipients; all of them without it (docs/queue.md)"`
	After  string `query:"after" doc:"The id behind which to begin"`
	Limit  int    `query:"limit" minimum:"0" default:"0" doc:"At most so many messages; 0 for all"`
}

// list streams the entries of which the filter selects a recipient.
func (s *Server) list(ctx context.Context, in *listInput, out *lines[ListLine]) error {
	w := walk{filter: queue.Filter{Where: in.Filter}, after: mail.ID(in.After), progress: func(p queue.Progress) error {
		return out.sendNow(ListLine{Progress: &p})
	}}
	left := in.Limit
	return s.walk(ctx, w, func(e *queue.Entry, selector *queue.Selector) error {
		selector.Reduce(e)
		err := out.send(ListLine{Entry: e})
		if left--; left == 0 {
			return errors.Join(err, errEnough)
		}
		return err
	})
}

// errEnough ends a walk before its end.
var errEnough = errors.New("enough")

// walkPage is how many entries a walk has in memory. An entry may have hundreds
// of KiB, and a client that does not read keeps a page for minutes.
const walkPage = 20

// walk is a way through the queue.
type walk struct {
	filter   queue.Filter
	after    mail.ID
	progress func(queue.Progress) error
}

// walk calls each for every entry of which the filter selects a recipient, a
// page at a time, and tells of its progress. errEnough from each ends it.
func (s *Server) walk(ctx context.Context, w walk, each func(*queue.Entry, *queue.Selector) error) error {
	selector, err := w.filter.Selector(s.Clock.Now())
	if err != nil {
		return err
	}
	var pace pace
	done := queue.Progress{Total: int64(s.Queue.Entries())}
	var gone error
	page := queue.Page{After: w.after, Limit: walkPage, Looked: func(more int) {
		if done.Done += int64(more); pace.now() && gone == nil {
			gone = w.progress(done)
		}
	}}
	for gone == nil {
		entries, err := s.Queue.List(ctx, w.filter, page)
		if err != nil {
			return err
		}
		for i := range entries {
			if err := each(&entries[i], selector); err != nil {
				return unlessEnough(err)
			}
		}
		if len(entries) < walkPage {
			break
		}
		page.After = entries[len(entries)-1].ID
	}
	return gone
}

func unlessEnough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

type messageInput struct {
	ID string `path:"id" doc:"The id that the client was told"`
}

// get returns an entry of the queue, or a problem.
func (s *Server) get(ctx context.Context, text string) (queue.Entry, error) {
	id, err := parseID(text)
	if err != nil {
		return queue.Entry{}, err
	}
	entry, err := s.Queue.Get(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return queue.Entry{}, notQueued(id)
	}
	return entry, err
}

func (s *Server) message(ctx context.Context, in *messageInput) (Message, error) {
	entry, err := s.get(ctx, in.ID)
	if err != nil {
		return Message{}, err
	}
	m := Message{Entry: entry, Attempting: s.Queue.LeasedIn(entry.ID), Suspensions: []Suspension{}}
	if m.Attempting == nil {
		m.Attempting = []mail.Destination{}
	}
	all, err := s.suspensions(ctx, nil)
	for _, one := range all {
		if one.holdsUp(&entry, s.Sites.SiteOf) {
			m.Suspensions = append(m.Suspensions, one)
		}
	}
	return m, err
}

const contentType = "message/rfc822"

func (s *Server) contentOperation() {
	o := s.operation(huma.Operation{OperationID: "content", Method: http.MethodGet, Path: "/v1/messages/{id}/content",
		Summary: "The content of a message in the queue, octet by octet as it is stored",
		Responses: map[string]*huma.Response{"200": {Description: "The content",
			Content: map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}})
	huma.Register(s.api, o, func(ctx context.Context, in *messageInput) (*huma.StreamResponse, error) {
		entry, err := s.get(ctx, in.ID)
		if err != nil {
			return nil, s.problem(o.Path, err)
		}
		body, err := s.Queue.Body(ctx, entry.Body)
		if err != nil {
			return nil, s.problem(o.Path, err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer body.Close()
			_, w := humago.Unwrap(c)
			s.sendOctets(w, contentType, io.NewSectionReader(body, 0, body.Size()), body.Size())
		}}, nil
	})
}

// sendOctets sends a content of so many octets. When it turns out damaged behind
// the first, the answer is shorter than its header says.
func (s *Server) sendOctets(w http.ResponseWriter, kind string, content io.Reader, size int64) {
	begin := make([]byte, 32<<10)
	n, err := io.ReadFull(content, begin)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		refuse(w, s.problem("content", err))
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := w.Write(begin[:n]); err != nil {
		return // the client has left
	}
	if _, err := io.CopyBuffer(unhurried{w, http.NewResponseController(w)}, content, begin); err != nil {
		s.Logger.Warn("the content of a message was not sent whole", "error", fmt.Errorf("content: %w", err))
	}
}

// unhurried gives a client its time for each part of a long answer.
type unhurried struct {
	io.Writer
	control *http.ResponseController
}

// Write writes a part.
func (u unhurried) Write(p []byte) (int, error) {
	_ = u.control.SetWriteDeadline(time.Now().Add(stallTimeout)) // fails when the client has left
	return u.Writer.Write(p)
}

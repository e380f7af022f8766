package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"postern/internal/mail"
	"postern/internal/queue"
)

// line is a line of a stream.
type line interface{ failed() *Problem }

func (l *ListLine) failed() *Problem    { return l.Problem }
func (l *CountLine) failed() *Problem   { return l.Problem }
func (l *EditLine) failed() *Problem    { return l.Problem }
func (l *ShapeLine) failed() *Problem   { return l.Problem }
func (l *VerifyLine) failed() *Problem  { return l.Problem }
func (l *journalLine) failed() *Problem { return l.Problem }

// journalLine is a line of the journal.
type journalLine struct {
	mail.Fact
	lastLine
}

// readLines calls each for every line of a stream. It fails with the
// *Problem of the last.
func readLines[T any, L interface {
	*T
	line
}](ctx context.Context, c *Client, r request, each func(L) error) error {
	body, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(bufio.NewReader(body))
	for {
		l := L(new(T))
		if err := decoder.Decode(l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return c.broken(ctx, err)
		}
		if problem := l.failed(); problem != nil {
			return problem
		}
		if err := each(l); err != nil {
			return err
		}
	}
}

// Listing says what is to be listed.
type Listing struct {
	Filter string // of the language of docs/queue.md; "" for all
	Limit  int    // at most so many messages; 0 for all
}

func (l *Listing) values() url.Values {
	v := url.Values{}
	set(v, "filter", l.Filter)
	if l.Limit > 0 {
		v.Set("limit", strconv.Itoa(l.Limit))
	}
	return v
}

// List calls each for every entry of which the filter selects a recipient, in
// order of id, with these recipients; progress is told meanwhile.
func (c *Client) List(ctx context.Context, l Listing, progress func(queue.Progress), each func(*queue.Entry) error) error {
	return readLines(ctx, c, request{method: http.MethodGet, path: "/v1/queue", values: l.values()}, func(l *ListLine) error {
		if l.Entry != nil {
			return each(l.Entry)
		}
		tell(progress, l.Progress)
		return nil
	})
}

func tell(progress func(queue.Progress), p *queue.Progress) {
	if p != nil {
		progress(*p)
	}
}

func messagePath(id mail.ID) string { return "/v1/messages/" + url.PathEscape(string(id)) }

// Message returns one message in the queue. Errors: a Problem with status 404.
func (c *Client) Message(ctx context.Context, id mail.ID) (Message, error) {
	var m Message
	return m, c.get(ctx, request{method: http.MethodGet, path: messagePath(id)}, &m)
}

// Content opens the content of a message in the queue. Close it. Errors: a
// Problem with status 404; io.ErrUnexpectedEOF when it turns out damaged.
func (c *Client) Content(ctx context.Context, id mail.ID) (io.ReadCloser, error) {
	return c.do(ctx, request{method: http.MethodGet, path: messagePath(id) + "/content"})
}

// Shape tells how many recipients wait, by destination and age: the top
// destinations have a row each.
func (c *Client) Shape(ctx context.Context, filter string, top int, progress func(queue.Progress)) (shape Shape, err error) {
	v := url.Values{"top": {strconv.Itoa(top)}}
	set(v, "filter", filter)
	return shape, readLines(ctx, c, request{method: http.MethodGet, path: "/v1/queue/shape", values: v}, func(l *ShapeLine) error {
		if l.Shape != nil {
			shape = *l.Shape
		}
		tell(progress, l.Progress)
		return nil
	})
}

// Count tells what an edit would change.
func (c *Client) Count(ctx context.Context, e Edit, progress func(queue.Progress)) (found Selection, err error) {
	return found, readLines(ctx, c, post("/v1/queue/count", e), func(l *CountLine) error {
		if l.Selection != nil {
			found = *l.Selection
		}
		tell(progress, l.Progress)
		return nil
	})
}

// Edit changes what an edit selects. It goes on when ctx ends.
func (c *Client) Edit(ctx context.Context, e Edit, progress func(queue.Edited)) (done queue.Edited, err error) {
	return c.edited(ctx, post("/v1/queue/edit", e), progress)
}

// edited sends a request that is answered by an edit.
func (c *Client) edited(ctx context.Context, r request, progress func(queue.Edited)) (done queue.Edited, err error) {
	return done, readLines(ctx, c, r, func(l *EditLine) error {
		if l.Edited != nil {
			done = *l.Edited
		} else if l.Progress != nil {
			progress(*l.Progress)
		}
		return nil
	})
}

// Suspend suspends something until it is resumed. It returns what was meant:
// the site to which a destination leads.
func (c *Client) Suspend(ctx context.Context, s Suspend) (meant Subject, err error) {
	return meant, c.get(ctx, post("/v1/suspend", s), &meant)
}

// Resume ends a suspension, and returns what was meant. Errors: a Problem with
// status 404 when there is none.
func (c *Client) Resume(ctx context.Context, s Subject) (meant Subject, err error) {
	return meant, c.get(ctx, post("/v1/resume", s), &meant)
}

// request is a request of the client.
type request struct {
	method, path string
	values       url.Values
	body         any // nil: none
	// stream, of this kind, is a body that is sent as it is read.
	stream io.Reader
	kind   string
}

func post(path string, body any) request {
	return request{method: http.MethodPost, path: path, body: body}
}

// content is the body of the request.
func (r *request) content() (io.Reader, error) {
	if r.body == nil {
		return r.stream, nil
	}
	text, err := json.Marshal(r.body)
	return bytes.NewReader(text), err
}

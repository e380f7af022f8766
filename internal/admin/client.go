package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// patience is how long a server may take until it begins to answer.
const patience = time.Minute

// Client talks to a running server.
type Client struct {
	socket string
	http   http.Client
}

// ErrNotRunning says that nobody listens at the socket.
var ErrNotRunning = errors.New("no server answers")

// NewClient returns a client for the socket at a path.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.connectBy(c.dial)
	return c
}

// connectBy sets how the client gets its connections.
func (c *Client) connectBy(dial func(context.Context) (net.Conn, error)) {
	c.http.Transport = &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		ResponseHeaderTimeout: patience,
		// A connection that is kept would hold up the end of the server.
		DisableKeepAlives: true,
	}
}

// dialError is why there is no connection; it names the socket.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// dial connects to the socket. It fails with a *dialError: ErrNotRunning, or
// what keeps anybody from telling, such as a socket of another user.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err == nil {
		return conn, nil
	}
	cause := withoutAddress(err)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		err = fmt.Errorf("%w at %s: %w", ErrNotRunning, c.socket, cause)
	case errors.Is(err, syscall.EACCES):
		err = fmt.Errorf("only the user that the server runs as may use %s: %w", c.socket, cause)
	default:
		err = fmt.Errorf("cannot connect to %s: %w", c.socket, cause)
	}
	return nil, &dialError{err}
}

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.get(ctx, request{method: http.MethodGet, path: "/v1/status"}, &s)
}

// Stop asks the server to end in good order, and returns at once.
func (c *Client) Stop(ctx context.Context) error {
	return c.tell(ctx, request{method: http.MethodPost, path: "/v1/stop"})
}

// WaitEnd waits until nobody listens at the socket any more. A server gives
// it up last: its data directory is free for another by then.
func (c *Client) WaitEnd(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := c.dial(ctx)
		switch {
		case errors.Is(err, ErrNotRunning):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Damaged lists the entries that were set aside because they, or their
// contents, cannot be read.
func (c *Client) Damaged(ctx context.Context, p queue.Page) ([]queue.Damaged, error) {
	var list []queue.Damaged
	v := url.Values{}
	set(v, "after", string(p.After))
	if p.Limit > 0 {
		v.Set("limit", strconv.Itoa(p.Limit))
	}
	return list, c.get(ctx, request{method: http.MethodGet, path: "/v1/store/damaged", values: v}, &list)
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

// Stat asks what the store takes and holds.
func (c *Client) Stat(ctx context.Context) (queue.Stat, error) {
	var st queue.Stat
	return st, c.get(ctx, request{method: http.MethodGet, path: "/v1/store"}, &st)
}

// Verify has the server read everything in its store and check it. It takes
// as long as that takes; progress is told meanwhile.
func (c *Client) Verify(ctx context.Context, progress func(queue.Progress)) (v queue.Verified, err error) {
	return v, readLines(ctx, c, request{method: http.MethodPost, path: "/v1/store/verify"}, func(l *VerifyLine) error {
		if l.Verified != nil {
			v = *l.Verified
		}
		tell(progress, l.Progress)
		return nil
	})
}

// Journal calls each for every fact that the query selects. With Follow it
// goes on until ctx ends, each returns an error, or the server ends. It fails
// with a *Problem, at the end, when some of the journal could not be read.
func (c *Client) Journal(ctx context.Context, q JournalQuery, each func(mail.Fact) error) error {
	v := url.Values{}
	set(v, "message", string(q.Message))
	set(v, "from", q.From)
	set(v, "to", q.To)
	for _, r := range q.Reasons {
		v.Add("reason", string(r))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Last != 0 {
		v.Set("last", strconv.Itoa(max(q.Last, 0)))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return readLines(ctx, c, request{method: http.MethodGet, path: "/v1/journal", values: v}, func(l *journalLine) error { return each(l.Fact) })
}

// tell sends a request whose answer says nothing but that it was done.
func (c *Client) tell(ctx context.Context, r request) error {
	body, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	return body.Close()
}

func (c *Client) get(ctx context.Context, r request, into any) error {
	body, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// broken is the error of an answer that did not come whole.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the answer of the server at %s cannot be read: %w", c.socket, err)
}

// do sends a request and returns the body of a good answer.
func (c *Client) do(ctx context.Context, r request) (io.ReadCloser, error) {
	content, err := r.content()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, r.method, "http://postern"+r.path+"?"+r.values.Encode(), content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		request.Header.Set("Content-Type", cmp.Or(r.kind, "application/json"))
	}
	response, err := c.http.Do(request)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // its URL means nothing to a person
		}
		return nil, c.unanswered(ctx, err)
	}
	if response.StatusCode/100 == 2 {
		return response.Body, nil
	}
	defer response.Body.Close()
	problem := &Problem{Status: response.StatusCode, Title: response.Status}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(problem); err != nil {
		problem.Detail = response.Status
	}
	return nil, problem
}

// unanswered is the error of a request without an answer. What dial returned
// says enough.
func (c *Client) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failure, ok := errors.AsType[*dialError](err); ok {
		return failure
	}
	return fmt.Errorf("the server at %s does not answer: %w", c.socket, err)
}

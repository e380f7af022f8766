package admin

import (
	"bufio"
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
	c.http.Transport = &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		ResponseHeaderTimeout: patience,
		// A connection that is kept would hold up the end of the server.
		DisableKeepAlives: true,
	}
	return c
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
	return s, c.get(ctx, "/v1/status", nil, &s)
}

// Stop asks the server to end in good order, and returns at once.
func (c *Client) Stop(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/stop", nil)
	if err != nil {
		return err
	}
	return body.Close()
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

// List lists entries of the queue.
func (c *Client) List(ctx context.Context, f queue.Filter, p queue.Page) ([]queue.Entry, error) {
	var entries []queue.Entry
	return entries, c.get(ctx, "/v1/queue", values(f, p), &entries)
}

// Entry returns one entry of the queue. Errors: a Problem with status 404.
func (c *Client) Entry(ctx context.Context, id mail.ID) (queue.Entry, error) {
	var e queue.Entry
	return e, c.get(ctx, "/v1/queue/"+url.PathEscape(string(id)), nil, &e)
}

// Damaged lists the entries that were set aside because they, or their
// contents, cannot be read.
func (c *Client) Damaged(ctx context.Context, p queue.Page) ([]queue.Damaged, error) {
	var list []queue.Damaged
	return list, c.get(ctx, "/v1/store/damaged", values(queue.Filter{}, p), &list)
}

// Stat asks what the store takes and holds.
func (c *Client) Stat(ctx context.Context) (queue.Stat, error) {
	var st queue.Stat
	return st, c.get(ctx, "/v1/store", nil, &st)
}

// Verify has the server read everything in its store and check it. It takes
// as long as that takes; progress is told meanwhile.
func (c *Client) Verify(ctx context.Context, progress func(queue.Progress)) (queue.Verified, error) {
	body, err := c.do(ctx, http.MethodPost, "/v1/store/verify", nil)
	if err != nil {
		return queue.Verified{}, err
	}
	defer body.Close()
	decoder := json.NewDecoder(bufio.NewReader(body))
	for {
		var line VerifyLine
		if err := decoder.Decode(&line); err != nil {
			return queue.Verified{}, c.broken(ctx, err)
		}
		switch {
		case line.Problem != nil:
			return queue.Verified{}, line.Problem
		case line.Verified != nil:
			return *line.Verified, nil
		case line.Progress != nil:
			progress(*line.Progress)
		}
	}
}

// Journal calls each for every fact that the query selects. With Follow it
// goes on until ctx ends, each returns an error, or the server ends. It fails
// with a *Problem, at the end, when some of the journal could not be read.
func (c *Client) Journal(ctx context.Context, q JournalQuery, each func(mail.Fact) error) error {
	v := url.Values{}
	set(v, paramMessage, string(q.Message))
	if q.Last != 0 {
		v.Set(paramLast, strconv.Itoa(max(q.Last, 0)))
	}
	if q.Follow {
		v.Set(paramFollow, "true")
	}
	body, err := c.do(ctx, http.MethodGet, "/v1/journal", v)
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(bufio.NewReader(body))
	for {
		var line struct {
			mail.Fact
			lastLine
		}
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return c.broken(ctx, err)
		}
		if line.Problem != nil {
			return line.Problem
		}
		if err := each(line.Fact); err != nil {
			return err
		}
	}
}

func (c *Client) get(ctx context.Context, path string, v url.Values, into any) error {
	body, err := c.do(ctx, http.MethodGet, path, v)
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
func (c *Client) do(ctx context.Context, method, path string, v url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://postern"+path+"?"+v.Encode(), nil)
	if err != nil {
		return nil, err
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

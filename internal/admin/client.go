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

	"postern/internal/mail"
	"postern/internal/queue"
)

// Client talks to a running server.
type Client struct {
	socket string
	http   http.Client
}

// ErrNotRunning says that nothing answers at the socket.
var ErrNotRunning = errors.New("no server answers")

// NewClient returns a client for the socket at a path.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.get(ctx, "/v1/status", nil, &s)
}

// Stop asks the server to end in good order.
func (c *Client) Stop(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/stop", nil)
	if err != nil {
		return err
	}
	return body.Close()
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

// Journal calls each for every fact that the query selects. With Follow it
// goes on until ctx ends, or each returns an error.
func (c *Client) Journal(ctx context.Context, q JournalQuery, each func(mail.Fact) error) error {
	v := url.Values{}
	set(v, paramMessage, string(q.Message))
	if q.Last > 0 {
		v.Set(paramLast, strconv.Itoa(q.Last))
	}
	if q.Follow {
		v.Set(paramFollow, "1")
	}
	body, err := c.do(ctx, http.MethodGet, "/v1/journal", v)
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(bufio.NewReader(body))
	for {
		var f mail.Fact
		if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := each(f); err != nil {
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
	return json.NewDecoder(body).Decode(into)
}

// do sends a request and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path string, v url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://postern"+path+"?"+v.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return nil, fmt.Errorf("%w at %s: %w", ErrNotRunning, c.socket, op.Err)
		}
		return nil, err
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

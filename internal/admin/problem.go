package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"postern/internal/deliver"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/pool"
	"postern/internal/queue"
)

const problemType = "application/problem+json"

// ErrBusy says that something of which there is one at a time is under way.
var ErrBusy = errors.New("it is under way already")

// Problem is an error of the API (RFC 9457).
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Errors are what is wrong with single parts of a request.
	Errors []Fault `json:"errors,omitempty"`
	// Faults are what is wrong with the lines of a file.
	Faults []LineFault `json:"faults,omitempty"`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"` // "query.limit"
}

// Error returns the detail, or the title when there is none, and then each
// fault.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text = p.Detail
	}
	faults := make([]string, len(p.Errors))
	for i, f := range p.Errors {
		faults[i] = strings.TrimSpace(f.Location + " " + f.Message)
	}
	if len(faults) > 0 {
		text += ": " + strings.Join(faults, "; ")
	}
	return text
}

// GetStatus returns the status of the answer.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the type of the answer (RFC 9457 6.1).
func (p *Problem) ContentType(string) string { return problemType }

// refused is the problem of what a keeper of files has refused: one of the absent ones has that
// title. It is nil for none.
func refused(err error, title string, absent ...error) error {
	if err == nil {
		return nil
	}
	if slices.ContainsFunc(absent, func(a error) bool { return errors.Is(err, a) }) {
		return &Problem{Status: http.StatusNotFound, Title: title, Detail: err.Error()}
	}
	return &Problem{Status: http.StatusConflict, Title: "Not done", Detail: err.Error()}
}

// problem returns what the client is told of an error. What nobody foresaw is
// said in the log only.
func (s *Server) problem(path string, err error) *Problem {
	if problem, ok := errors.AsType[*Problem](err); ok {
		return problem
	}
	if damage, ok := errors.AsType[*journal.DamageError](err); ok {
		// The facts that can be read were sent.
		return &Problem{Status: http.StatusInternalServerError, Title: "Damaged journal", Detail: damage.Error()}
	}
	switch {
	case errors.Is(err, ErrBusy):
		return &Problem{Status: http.StatusConflict, Title: "Busy", Detail: err.Error()}
	case errors.Is(err, queue.ErrFull):
		return &Problem{Status: http.StatusInsufficientStorage, Title: "No room", Detail: err.Error()}
	case errors.Is(err, queue.ErrInvalid):
		return badRequest(err)
	case errors.Is(err, deliver.ErrNoSite):
		return &Problem{Status: http.StatusNotFound, Title: "No such site", Detail: err.Error()}
	case errors.Is(err, pool.ErrNoTarget), errors.Is(err, pool.ErrNoPool):
		return &Problem{Status: http.StatusNotFound, Title: "No such target", Detail: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Given up", Detail: "the request was given up"}
	case errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrUnknown):
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Stopping", Detail: "the server is stopping"}
	case errors.Is(err, queue.ErrDamaged):
		return &Problem{Status: http.StatusInternalServerError, Title: "Damaged store", Detail: fmt.Sprintf("%v; `postern store verify` tells where", err)}
	}
	s.Logger.Error("administrative request failed", "path", path, "error", err)
	return &Problem{Status: http.StatusInternalServerError, Title: "Internal error", Detail: "the request failed; the log of the server says why"}
}

func badRequest(err error) *Problem {
	return &Problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: err.Error()}
}

func notQueued(id mail.ID) *Problem {
	return &Problem{Status: http.StatusNotFound, Title: "Not in the queue",
		Detail: fmt.Sprintf("message %s is not in the queue; the journal tells what became of it", id)}
}

// parseID reads the id of a message.
func parseID(s string) (mail.ID, error) {
	id, err := mail.ParseID(s)
	if err != nil {
		return "", badRequest(err)
	}
	return id, nil
}

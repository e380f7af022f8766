package mail

import (
	"errors"
	"fmt"
	"strings"
)

// Reply is an SMTP reply (RFC 5321 4.2). Whether it is temporary or
// permanent is derived from its code and kept nowhere else.
//
// The zero Reply is no reply.
type Reply struct {
	Code int `json:"code"`
	// Enhanced is the status code of RFC 3463, "5.1.1"; empty where there is
	// none, as in 220, 221, 354 and the replies to HELO and EHLO.
	Enhanced string `json:"enhanced,omitempty"`
	// Text is the human part; "\n" separates the lines of a multi-line reply.
	Text string `json:"text,omitempty"`
}

// NewReply returns a reply whose text is built as fmt.Sprintf does.
func NewReply(code int, enhanced, format string, args ...any) Reply {
	return Reply{Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, args...)}
}

// IsZero reports whether there is no reply.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Success reports whether the command was done (2xx).
func (r Reply) Success() bool { return r.Code/100 == 2 }

// Intermediate reports whether the server waits for more (3xx).
func (r Reply) Intermediate() bool { return r.Code/100 == 3 }

// Temporary reports whether the client may try again (4xx).
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent reports whether the client must not try again (5xx).
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// String returns the reply in one line, as it is shown to a person.
func (r Reply) String() string {
	if r.IsZero() {
		return "no reply"
	}
	parts := []string{fmt.Sprint(r.Code)}
	if r.Enhanced != "" {
		parts = append(parts, r.Enhanced)
	}
	if r.Text != "" {
		parts = append(parts, strings.ReplaceAll(r.Text, "\n", " "))
	}
	return strings.Join(parts, " ")
}

// Status returns the enhanced status code of the reply, and where it has
// none the general one of its class: "2.0.0", "4.0.0" or "5.0.0".
func (r Reply) Status() string {
	if r.Enhanced != "" {
		return r.Enhanced
	}
	return fmt.Sprintf("%d.0.0", r.Code/100)
}

// NoReply is the code of the reply that is not sent: the connection is
// dropped instead, because nobody knows whether a commit is durable.
const NoReply = -1

// Error is an error with two faces: a reply for the client, and a cause for
// the log that the client never sees.
type Error struct {
	Reply Reply
	Cause error
}

// Refuse returns an Error without a cause.
func Refuse(code int, enhanced, format string, args ...any) *Error {
	return &Error{Reply: NewReply(code, enhanced, format, args...)}
}

// Because returns a copy of e with the cause.
func (e *Error) Because(cause error) *Error { return &Error{Reply: e.Reply, Cause: cause} }

// Error returns the reply and, after a colon, the cause: a text for the log.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Reply.String()
	}
	return e.Reply.String() + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CauseText is an error as an Outcome has it for its cause, in one line: the
// errors that errors.Join has put together stand behind each other.
func CauseText(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// LocalError is the reply for an error nobody gave a reply: the unknown is
// temporary, and its text says nothing of the inside (RFC 3463 3.4).
var LocalError = Reply{Code: 451, Enhanced: "4.3.0", Text: "Local error in processing, please try again later"}

// ReplyOf returns what a client is told of err: the reply of the first Error
// in its chain, or LocalError. It returns the zero Reply for nil.
func ReplyOf(err error) Reply {
	if err == nil {
		return Reply{}
	}
	if e, ok := errors.AsType[*Error](err); ok && !e.Reply.IsZero() {
		return e.Reply
	}
	return LocalError
}

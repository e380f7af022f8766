package smtpserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// modelHandler does what the step at hand wants of it, and holds the engine to
// what Session promises.
type modelHandler struct {
	step     *step
	open     bool
	rcpts    int
	asked    bool // Data was, and let content come
	ended    bool
	proving  bool // an exchange is on
	mail     smtp.Mail
	reader   *smtp.DataReader // while Content runs
	messages []message
	faults   []string
	// order is touched by whoever is about to use the rest. The server may wake because time has passed,
	// and the race detector does not see that this is after what the test did.
	order atomic.Int64
}

func (h *modelHandler) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// reply is that of a method, as the step has it.
func (h *modelHandler) reply(method string) mail.Reply {
	h.order.Add(1)
	if h.ended {
		h.fault("%s behind End", method)
	}
	if h.step == nil || h.step.at != method {
		return mail.Reply{}
	}
	if h.step.reply.IsZero() {
		panic("the model wants it")
	}
	return h.step.reply
}

func (h *modelHandler) Hello(context.Context, mail.Origin) mail.Reply { return h.reply("Hello") }

func (h *modelHandler) Mail(_ context.Context, m smtp.Mail) mail.Reply {
	h.order.Add(1)
	if h.open {
		h.fault("Mail within a transaction")
	}
	r := h.reply("Mail")
	if r.IsZero() {
		h.open, h.mail, h.rcpts = true, m, 0
	}
	return r
}

func (h *modelHandler) Rcpt(context.Context, smtp.Rcpt) mail.Reply {
	h.order.Add(1)
	if !h.open {
		h.fault("Rcpt without a transaction")
	}
	r := h.reply("Rcpt")
	if r.IsZero() {
		h.rcpts++
	}
	return r
}

func (h *modelHandler) Data(context.Context) mail.Reply {
	h.order.Add(1)
	if !h.open || h.rcpts == 0 {
		h.fault("Data without recipients")
	}
	r := h.reply("Data")
	h.asked = r.IsZero()
	return r
}

// Content refuses when the step says so: at once, or when it has read
// something of that step.
func (h *modelHandler) Content(_ context.Context, c smtp.Content) mail.Reply {
	h.order.Add(1)
	if !h.open || !h.asked {
		h.fault("Content that Data did not let come")
	}
	h.reader = c.(content).DataReader
	defer func() { h.open, h.asked, h.reader = false, false, nil }()
	if h.step != nil && h.step.unread {
		return h.reply("Content")
	}
	var got strings.Builder
	for p := make([]byte, 64); ; {
		n, err := c.Read(p)
		got.Write(p[:n])
		if r := h.reply("Content"); !r.IsZero() {
			return r
		}
		if err == io.EOF {
			h.messages = append(h.messages, message{
				from: h.mail.Envelope.From.Path(), utf8: h.mail.Envelope.UTF8, secret: h.mail.Envelope.RequireTLS, recipients: h.rcpts, content: got.String(),
			})
			return mail.NewReply(250, "2.0.0", "Kept")
		}
		if err != nil {
			return mail.ReplyOf(err)
		}
	}
}

func (h *modelHandler) Command(_ context.Context, c smtp.Command) mail.Reply { return h.reply(c.Verb) }

func (h *modelHandler) Reset() {
	h.order.Add(1)
	if !h.open {
		h.fault("Reset without a transaction")
	}
	h.open = false
}

func (h *modelHandler) End() {
	h.order.Add(1)
	if h.ended {
		h.fault("End called twice")
	}
	if h.proving {
		h.fault("End before that of the exchange")
	}
	h.ended = true
}

func (h *modelHandler) Mechanisms(mail.Origin) smtp.Mechanisms {
	return smtp.Mechanisms{"PLAIN", "LOGIN"}
}

func (h *modelHandler) Authenticate(_ context.Context, mechanism string, state *tls.ConnectionState) (smtp.Exchange, mail.Reply) {
	h.order.Add(1)
	switch {
	case h.open:
		h.fault("Authenticate within a transaction")
	case h.proving:
		h.fault("Authenticate within an exchange")
	case state == nil:
		h.fault("Authenticate in clear")
	}
	if r := h.reply("Authenticate"); !r.IsZero() {
		return nil, r
	}
	h.proving = true
	return &modelExchange{modelHandler: h, missing: map[string]int{"PLAIN": 1, "LOGIN": 2}[mechanism]}, mail.Reply{}
}

type modelExchange struct {
	*modelHandler
	missing int
}

func (x *modelExchange) Next(_ context.Context, response []byte) ([]byte, *mail.Account, mail.Reply) {
	x.order.Add(1)
	if !x.proving {
		x.fault("Next behind End of the exchange")
	}
	if response != nil {
		x.missing--
	}
	if x.missing > 0 {
		return []byte("more"), nil, mail.Reply{}
	}
	if r := x.reply("Next"); !r.IsZero() {
		return nil, nil, r
	}
	return nil, &mail.Account{Name: "joe"}, mail.NewReply(235, "2.7.0", "Welcome")
}

func (x *modelExchange) End() {
	x.order.Add(1)
	x.proving = false
}

package explain

import (
	"bufio"
	"bytes"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
)

// Report is what would become of a message.
type Report struct {
	Mail       Question    `json:"mail"`
	Commands   []Command   `json:"commands"`
	Recipients []Recipient `json:"recipients"`
	// Refused is the reply that ended all, and what gave it; nil when there was none
	// but to single recipients.
	Refused *Refusal `json:"refused,omitempty"`
	// Unreached are handlers of commands that it did not come to.
	Unreached []policy.Considered `json:"unreached,omitempty"`
	// Notes say what was not asked or is not known.
	Notes []string `json:"notes,omitempty"`
}

// Question is the message, as it was asked about.
type Question struct {
	Listener string `json:"listener"`
	Client   string `json:"client,omitempty"`
	Hello    string `json:"helo"`
	User     string `json:"user,omitempty"`
	TLS      string `json:"tls,omitempty"`
	// RequireTLS says that it demands TLS on the whole way.
	RequireTLS bool     `json:"require_tls,omitempty"`
	From       string   `json:"from"`
	To         []string `json:"to"`
	Size       int64    `json:"size"` // in octets; of a message that was made up as well
	MadeUp     bool     `json:"made_up,omitempty"`
}

// Command is one command, with its reply and all handlers at it.
type Command struct {
	// Name is CONNECT, EHLO, AUTH, MAIL, RCPT or DATA; Argument is what it is about.
	Name     string `json:"name"`
	Argument string `json:"argument,omitempty"`
	// Reply is what policy or door say; the zero Reply leaves the answer to the
	// server, which accepts.
	Reply mail.Reply `json:"reply,omitzero"`
	// By is the handler that gave the reply; nil for none.
	By         *Handler            `json:"by,omitempty"`
	Greeting   string              `json:"greeting,omitempty"`
	Considered []policy.Considered `json:"handlers"`
}

// Handler is a handler, or a setting that stands for one.
type Handler struct {
	Rule    string `json:"rule"`
	Place   string `json:"place,omitempty"`
	Setting bool   `json:"setting,omitempty"`
}

func handlerOf(c *policy.Considered) Handler { return Handler{c.Rule, c.Place, c.Handler != ""} }

// String returns "no-yahoo (postern.toml:31)".
func (h Handler) String() string {
	if h.Place == "" || strings.HasSuffix(h.Rule, h.Place) {
		return h.Rule
	}
	return h.Rule + " (" + h.Place + ")"
}

// Title says what it is as well: "handler no-yahoo (postern.toml:31)".
func (h Handler) Title() string {
	if h.Setting || strings.HasPrefix(h.Rule, "handler ") {
		return h.String()
	}
	return "handler " + h.String()
}

// Refusal is a reply that refuses, at a command.
type Refusal struct {
	Command string     `json:"command"`
	Reply   mail.Reply `json:"reply"`
	By      *Handler   `json:"by,omitempty"` // nil: not policy, but the server itself
}

// String returns "refused at RCPT: 550 5.7.1 No, by handler no-yahoo (postern.toml:31)".
func (r *Refusal) String() string {
	by := "the server itself"
	if r.By != nil {
		by = r.By.Title()
	}
	return "refused at " + r.Command + ": " + r.Reply.String() + ", by " + by
}

// Outcome is what becomes of a recipient.
type Outcome string

// The outcomes.
const (
	Refused   Outcome = "refused"
	Queued    Outcome = "queued"
	Held      Outcome = "held"
	Discarded Outcome = "discarded"
	Expanded  Outcome = "expanded" // it stands for others, who get the mail
)

// Recipient is one recipient with what would become of it.
type Recipient struct {
	Address string `json:"address"` // as it was named
	// Routed is what it stands for by percent routing, if that is another address.
	Routed  string   `json:"routed,omitempty"`
	Outcome Outcome  `json:"outcome"`
	Refusal *Refusal `json:"refusal,omitempty"`

	// Members are the addresses that get the mail, if it stands for several or is a
	// list with an owner, and List is the name of that; Unknown are addresses among them
	// that are nobody's.
	Members []string `json:"members,omitempty"`
	List    string   `json:"list,omitempty"`
	Unknown []string `json:"unknown,omitempty"`

	// To is where the mail goes, Destination and Route how, and Variant which of the
	// messages it is, from 1.
	To          string           `json:"to,omitempty"`
	Destination mail.Destination `json:"destination,omitempty"`
	Route       string           `json:"route,omitempty"`
	// Way is why it goes there, and how.
	Way     *Way           `json:"way,omitempty"`
	TLS     mail.TLSDemand `json:"tls,omitempty"`
	Variant int            `json:"variant,omitempty"`
	// Sender is set when it is not that of the client.
	Sender string `json:"sender,omitempty"`
	// Company is whose mail it is, and Class its priority class; empty for nobody's in
	// particular, and for the normal one.
	Company string    `json:"company,omitempty"`
	Class   string    `json:"class,omitempty"`
	Hold    mail.Hold `json:"hold,omitempty"`
	Note    string    `json:"note,omitempty"`
	// NotBefore is when the first attempt is, if not at once.
	NotBefore time.Time `json:"not_before,omitzero"`
	Tags      []string  `json:"tags,omitempty"`
	Edits     []string  `json:"edits,omitempty"` // of the header, in words
	Copies    []string  `json:"copies,omitempty"`
	Added     []string  `json:"added,omitempty"`
	// By are the handlers that had a part in it.
	By []Handler `json:"by,omitempty"`

	as      mail.Address // as policy knows it
	because []Handler    // those that hold or discard it
	content []byte       // what it gets, for those that look into its header
}

// Variants is how many different messages come of it.
func (r *Report) Variants() int {
	most := 0
	for i := range r.Recipients {
		most = max(most, r.Recipients[i].Variant)
	}
	return most
}

// Header is that of the message that the recipient gets. It fails when the header
// is larger than may be.
func (r *Recipient) Header() (*message.Header, error) {
	return message.ReadHeader(bufio.NewReader(bytes.NewReader(r.content)), message.Limits{})
}

// Decisive is the step of policy that decided about a recipient: the one that refused,
// or else the last that changed something. It is empty when there was none.
func (r *Report) Decisive(to *Recipient) string {
	decisive := ""
	for i := range r.Commands {
		for _, c := range r.Commands[i].Considered {
			if len(c.Steps) == 0 || c.Recipient != "" && c.Recipient != to.as.String() {
				continue
			}
			last := c.Steps[len(c.Steps)-1]
			for _, step := range c.Steps {
				if c.Verdict == "" && step.Step != "default" && step.Step != "accept" {
					last = step
				}
			}
			decisive = last.String()
			if c.Verdict != "" {
				return decisive
			}
		}
	}
	return decisive
}

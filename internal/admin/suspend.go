package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/deliver"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Subject is what can be suspended.
type Subject struct {
	What What `json:"what" enum:"intake,delivery,site,destination,class,sender" doc:"What is suspended"`
	// Name is that of the site, the destination, the class or the sender; empty for the
	// others.
	Name string `json:"name,omitempty" doc:"A site or a destination that leads there; a domain; a priority class; the address of a sender, <> for reports, @ and a domain for all its addresses"`
}

// What is the kind of a Subject.
type What string

// The kinds. Each has its kind of mark.
const (
	Intake      What = "intake"
	Delivery    What = "delivery"
	OneSite     What = "site"
	Destination What = "destination"
	Class       What = "class"
	Sender      What = "sender"
)

var markKinds = map[What]queue.MarkKind{
	Intake: queue.MarkSuspendIntake, Delivery: queue.MarkSuspendDelivery, OneSite: queue.MarkSuspendSite,
	Destination: queue.MarkSuspend, Class: queue.MarkSuspendClass, Sender: queue.MarkSuspendSender,
}

// String returns the subject as a person names it.
func (s Subject) String() string { return strings.TrimSpace(string(s.What) + " " + s.Name) }

// Suspension is something that is suspended, until it is resumed.
type Suspension struct {
	Subject
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason"`
}

// holdsUp reports whether a message waits for the end of the suspension; siteOf
// tells where a destination leads.
func (s *Suspension) holdsUp(e *queue.Entry, siteOf func(mail.Destination) string) bool {
	switch s.What {
	case Delivery:
		return true
	case OneSite:
		return slices.ContainsFunc(e.Deliveries, func(d queue.Delivery) bool { return siteOf(d.Destination) == s.Name })
	case Destination:
		return slices.ContainsFunc(e.Deliveries, func(d queue.Delivery) bool { return string(d.Destination) == s.Name })
	case Class:
		return e.Class.String() == s.Name
	case Sender:
		return slices.Contains(queue.SenderKeys(e.Envelope.From), s.Name)
	}
	return false
}

func (s *Server) suspendOperations() {
	answer(s, huma.Operation{OperationID: "suspensions", Method: http.MethodGet, Path: "/v1/suspensions",
		Summary: "What is suspended, and since when"}, s.suspensions)
	answer(s, huma.Operation{OperationID: "suspend", Method: http.MethodPost, Path: "/v1/suspend",
		Summary: "Suspend something until it is resumed, also after a restart; it is told what was meant"}, s.suspend)
	answer(s, huma.Operation{OperationID: "resume", Method: http.MethodPost, Path: "/v1/resume",
		Summary: "End a suspension; what waited is tried now"}, s.resume)
}

// suspensions lists all, those of intake and delivery first.
func (s *Server) suspensions(ctx context.Context, _ *struct{}) ([]Suspension, error) {
	all := []Suspension{}
	for _, what := range []What{Intake, Delivery, OneSite, Destination, Class, Sender} {
		marks, err := s.Queue.ListMarks(ctx, markKinds[what])
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			one := Suspension{Subject: Subject{What: what, Name: m.Key}, Since: m.At, Actor: m.Actor, Reason: m.Value}
			if m.Key == queue.All {
				one.Name = ""
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// Suspend is a request to suspend something.
type Suspend struct {
	Subject
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why, for whoever finds it"`
}

type suspendInput struct{ Body Suspend }

func (s *Server) suspend(ctx context.Context, in *suspendInput) (Subject, error) {
	mark, err := s.mark(ctx, in.Body.Subject)
	if err != nil {
		return Subject{}, err
	}
	mark.Value = in.Body.Reason
	return subjectOf(mark), s.putMark(ctx, mark, fmt.Sprintf("%s suspended: %s", subjectOf(mark), in.Body.Reason))
}

type resumeInput struct{ Body Subject }

// resume ends a suspension. Sites that are down are tried again with what
// waited.
func (s *Server) resume(ctx context.Context, in *resumeInput) (Subject, error) {
	subject := in.Body
	if subject.What == OneSite {
		var err error
		if subject.Name, err = s.suspendedSite(ctx, subject.Name); err != nil {
			return Subject{}, err
		}
	}
	mark, err := s.mark(ctx, subject)
	if err != nil {
		return Subject{}, err
	}
	_, err = s.Queue.Mark(ctx, mark.Kind, mark.Key)
	if errors.Is(err, queue.ErrNotFound) {
		return Subject{}, &Problem{Status: http.StatusNotFound, Title: "Not suspended", Detail: fmt.Sprintf("%s is not suspended", subjectOf(mark))}
	}
	if err != nil {
		return Subject{}, err
	}
	if mark.Kind != queue.MarkSuspendIntake {
		s.Sites.TryNow()
	}
	return subjectOf(mark), s.putMark(ctx, mark, fmt.Sprintf("%s resumed", subjectOf(mark)))
}

func (s *Server) putMark(ctx context.Context, m queue.Mark, text string) error {
	return s.Queue.PutMark(ctx, m, mail.Fact{Time: m.At, Reason: mail.ReasonMarked, Actor: m.Actor, Text: text})
}

// mark is the mark of a subject, without a value.
func (s *Server) mark(ctx context.Context, subject Subject) (queue.Mark, error) {
	key, err := s.key(ctx, subject)
	if errors.Is(err, deliver.ErrNoSite) {
		return queue.Mark{}, err
	}
	if err != nil {
		return queue.Mark{}, badRequest(err)
	}
	return queue.Mark{Kind: markKinds[subject.What], Key: key, At: s.Clock.Now(), Actor: actor(ctx)}, nil
}

// subjectOf is the subject of a mark, as a person names it.
func subjectOf(m queue.Mark) Subject {
	for what, kind := range markKinds {
		if kind == m.Kind && m.Key == queue.All {
			return Subject{What: what}
		} else if kind == m.Kind {
			return Subject{What: what, Name: m.Key}
		}
	}
	return Subject{Name: m.Key}
}

// key is the key of a subject's mark. It fails with what would be right.
func (s *Server) key(ctx context.Context, subject Subject) (string, error) {
	name := strings.ToLower(subject.Name)
	switch subject.What {
	case OneSite:
		return s.Sites.FindSite(ctx, subject.Name)
	case Destination:
		d, err := mail.ParseDestination(name)
		if err != nil {
			return "", fmt.Errorf("destination %q: %w; name a domain", subject.Name, err)
		}
		return string(d), nil
	case Class:
		class, err := mail.ParseClass(name)
		return class.String(), err
	case Sender:
		return senderKey(name)
	}
	if name != "" {
		return "", fmt.Errorf("%s is one for the whole server, and takes no name: %q is one too many", subject.What, subject.Name)
	}
	return queue.All, nil
}

func senderKey(name string) (string, error) {
	if name == "<>" {
		return name, nil
	}
	if domain, found := strings.CutPrefix(name, "@"); found {
		if err := mail.CheckDomain(domain); err != nil {
			return "", fmt.Errorf("sender %q: %w; behind @ stands a domain", name, err)
		}
		return name, nil
	}
	address, err := mail.ParseAddress(name)
	if err != nil {
		return "", fmt.Errorf("sender %q: %w; name an address, @ and a domain, or <>", name, err)
	}
	return strings.ToLower(address.String()), nil
}

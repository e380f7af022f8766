package intake

import (
	"context"
	"errors"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// markTaken is the kind of the marks that submissions were taken. The key is
// the name of the submission, the value the id of its message.
const markTaken queue.MarkKind = "taken"

// notes returns the mark that is to be stored with a message.
func notes(once string, id mail.ID, at time.Time) []queue.Mark {
	if once == "" {
		return nil
	}
	return []queue.Mark{{Kind: markTaken, Key: once, Value: string(id), At: at}}
}

// Taken reports whether a submission with the name was accepted, and was not
// forgotten since. It fails with the error of the store.
func (in *Intake) Taken(ctx context.Context, once string) (bool, error) {
	_, err := in.Store.Mark(ctx, markTaken, once)
	if errors.Is(err, queue.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// AllTaken lists the submissions that were accepted and not forgotten, by
// name. It fails with the error of the store.
func (in *Intake) AllTaken(ctx context.Context) ([]string, error) {
	marks, err := in.Store.ListMarks(ctx, markTaken)
	names := make([]string, 0, len(marks))
	for _, m := range marks {
		names = append(names, m.Key)
	}
	return names, err
}

// Forget says that submissions can not be handed in again. It fails with
// the error of the store; as long as it is not done they are known as taken.
func (in *Intake) Forget(ctx context.Context, names ...string) error {
	lifted := make([]queue.Mark, len(names))
	for i, name := range names {
		lifted[i] = queue.Mark{Kind: markTaken, Key: name, At: in.Clock.Now()}
	}
	return in.Store.Accept(ctx, queue.Group{Marks: lifted})
}

// Fatal reports whether an error of Accept means that nobody knows what is
// stored: no reply may be sent to anybody any more, and the process must end.
func Fatal(err error) bool { return errors.Is(err, queue.ErrUnknown) }

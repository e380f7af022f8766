package reload

import (
	"context"
	"errors"
	"net/textproto"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// listed is the recipient who is on the list at times.
const listed = "listed@next.example"

// withList is a list that a handler asks about each recipient.
const withList = `
[[list]]
name = "closed"
kind = "addresses"
file = "closed"

[[handler]]
at = "rcpt"
when = 'listed("closed", smtp.rcpt.to)'
steps = [{ reject = "550 5.7.1 This mailbox is closed" }]
`

// TestListChangesUnderLoad changes a list while clients send to who is on it at
// times, and to who never is. From the moment a change is seen it holds for every
// session; a file that is wrong changes nothing; nobody gets another reply, and
// what was acknowledged arrives once.
func TestListChangesUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	r := newRig(ctx, t)
	r.list(t, "")
	r.write(r.settings(0) + withList)
	if out, err := r.command(ctx, "reload").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	stop := r.sendToListed(ctx, t)
	for _, c := range []struct {
		text    string
		refused bool
	}{{listed, true}, {"another@next.example", false}, {"listed@NEXT.example # again", true}} {
		r.list(t, c.text)
		r.wantRefused(ctx, t, c.refused)
	}
	r.list(t, "no address")
	mailtest.Must(t, harness.Until(ctx, "the wrong file is told", func() (bool, error) {
		s, err := r.admin.Status(ctx)
		return len(s.Warnings) > 0, err
	}))
	r.wantRefused(ctx, t, true)
	stop()
	mailtest.Must(t, harness.UntilEmpty(ctx, r.postern))
	mailtest.Must(t, r.postern.Stop())
	if r.compare(t) == 0 {
		t.Error("nothing was sent")
	}
	r.wantListFacts(t)
}

// list writes the file of the list.
func (r *rig) list(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(r.dir, "closed")
	mailtest.Must(t, os.WriteFile(file+".new", []byte(text+"\n"), 0o600))
	mailtest.Must(t, os.Rename(file+".new", file))
}

// sendToListed has clients send until the function that it returns is called.
func (r *rig) sendToListed(ctx context.Context, t *testing.T) (stop func()) {
	over := make(chan struct{})
	var clients sync.WaitGroup
	for _, to := range []string{listed, "all@next.example", listed, "all@next.example"} {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(5 * time.Millisecond): // the load is to be there, not to be large
				}
				if err := r.sendOne(ctx, to); err != nil {
					t.Errorf("%s: %v", to, err)
					return
				}
			}
		})
	}
	return func() {
		close(over)
		clients.Wait()
	}
}

// sendOne sends a message over a connection of its own. Who is listed at times may
// be refused.
func (r *rig) sendOne(ctx context.Context, to string) error {
	c, err := dial(ctx, r.postern.Addr())
	if err != nil {
		return err
	}
	if err := r.send(c, to, nothing); err != nil && !(to == listed && isRefused(err)) {
		return err
	}
	return c.quit()
}

// isRefused reports whether an error is the refusal of the handler.
func isRefused(err error) bool {
	reply, ok := errors.AsType[*textproto.Error](err)
	return ok && reply.Code == 550
}

// wantRefused waits until a client sees a change of the list, and then wants it to
// hold for all that follow.
func (r *rig) wantRefused(ctx context.Context, t *testing.T, want bool) {
	t.Helper()
	look := func() (bool, error) {
		c, err := dial(ctx, r.postern.Addr())
		if err != nil {
			return false, err
		}
		mailtest.Must(t, c.say(250, "MAIL FROM:<me@source.example>"))
		if err = c.say(250, "RCPT TO:<"+listed+">"); err != nil && !isRefused(err) {
			return false, err
		}
		return isRefused(err), c.quit()
	}
	mailtest.Must(t, harness.Until(ctx, "the list is read", func() (bool, error) {
		refused, err := look()
		return refused == want, err
	}))
	for range 20 {
		refused, err := look()
		mailtest.Must(t, err)
		if refused != want {
			t.Fatalf("refused is %t, and was %t before", refused, want)
		}
	}
}

// wantListFacts wants the journal to have each change, and the file that was wrong.
func (r *rig) wantListFacts(t *testing.T) {
	t.Helper()
	reasons := make(map[mail.Reason]int)
	mailtest.Must(t, journal.Read(context.Background(), r.postern.Journal(), journal.Query{}, func(f mail.Fact) error {
		reasons[f.Reason]++
		return nil
	}))
	if reasons[mail.ReasonListRead] < 3 || reasons[mail.ReasonListFailed] != 1 {
		t.Errorf("the journal has %d lists that were read and %d that could not be; want 3 and 1", reasons[mail.ReasonListRead], reasons[mail.ReasonListFailed])
	}
}

package selftest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// Kills is what came of killing a process that accepts and delivers.
type Kills struct {
	Kills        int `json:"kills"`
	Acknowledged int `json:"acknowledged"` // messages the process said it had stored
	Settled      int `json:"settled"`      // messages it said it had delivered
	Lost         int `json:"lost"`         // acknowledged, and not there
	Changed      int `json:"changed"`      // there, but with other octets, or unreadable
	Returned     int `json:"returned"`     // settled, and there again
}

// A child is killed when it has said so much, at random, or one time in five
// while it starts; and after so long at the latest.
const (
	maxLines = 800
	maxStart = 100 * time.Millisecond
	maxLife  = 10 * time.Second
)

// torture kills a child again and again, and checks what it left.
type torture struct {
	dir    string
	child  func(dir string) *exec.Cmd
	result Kills

	stored   map[mail.ID]string // acknowledged, with the hash of the content
	settling map[mail.ID]bool   // of those, the ones that may be gone
	settled  map[mail.ID]bool
}

func newTorture(dir string, child func(string) *exec.Cmd) *torture {
	return &torture{dir: dir, child: child,
		stored: map[mail.ID]string{}, settling: map[mail.ID]bool{}, settled: map[mail.ID]bool{}}
}

// killOnce lets a child work, kills it, and checks the store.
func (t *torture) killOnce(ctx context.Context) error {
	limit := maxLife
	if rand.IntN(5) == 0 {
		limit = rand.N(maxStart)
	}
	if err := t.live(ctx, limit, rand.IntN(maxLines)); err != nil {
		return err
	}
	t.result.Kills++
	return t.check(ctx)
}

// live is the life of one child: so many lines long, and no longer than
// limit. The child is dead when it returns.
func (t *torture) live(ctx context.Context, limit time.Duration, lines int) error {
	ctx, kill := context.WithTimeout(ctx, limit)
	defer kill()
	child := t.child(t.dir)
	// In a group of its own, so that an interrupt from the keyboard reaches
	// the parent alone.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	child.Stderr = &said
	in, err := child.StdinPipe() // its end tells the child that the parent is gone
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	dead := context.AfterFunc(ctx, func() { _ = child.Process.Kill() }) // fails only when it is dead
	defer dead()
	readErr := t.listen(out, func(n int) {
		if n > lines {
			kill()
		}
	})
	kill()
	_ = child.Wait() // ProcessState says the same
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the process that was to be killed ended by itself, with %v: %s", child.ProcessState, bytes.TrimSpace(said.Bytes()))
	}
	return readErr
}

// listen takes note of what a child says, up to its end. It calls each with
// the number of lines so far.
func (t *torture) listen(out io.Reader, each func(int)) error {
	lines := bufio.NewReader(out)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil // what was cut short was not said
		}
		if err != nil {
			return err
		}
		if err := t.note(strings.Fields(line)); err != nil {
			return fmt.Errorf("the process said %q: %w", line, err)
		}
		each(n)
	}
}

var errNotUnderstood = errors.New("that is not understood")

// note takes note of a line.
func (t *torture) note(words []string) error {
	if len(words) < 2 {
		return errNotUnderstood
	}
	switch id := mail.ID(words[1]); {
	case words[0] == saysStored && len(words) == 3:
		t.result.Acknowledged++
		if !t.settled[id] { // else the delivery overtook this line
			t.stored[id] = words[2]
		}
	case words[0] == saysSettling:
		t.settling[id] = true
	case words[0] == saysSettled:
		t.result.Settled++
		t.settled[id] = true
		delete(t.settling, id)
		delete(t.stored, id)
	default:
		return errNotUnderstood
	}
	return nil
}

// check compares the store with what was said of it.
func (t *torture) check(ctx context.Context) error {
	store, err := embedded.Open(t.dir, embedded.Options{})
	if err != nil {
		return err
	}
	found, err := t.readAll(ctx, store)
	if err = errors.Join(err, store.Close()); err != nil {
		return err
	}
	t.compare(found)
	return nil
}

// unreadable stands for the hash of a content that cannot be read.
const unreadable = ""

// readAll returns the hash of every content in the store.
func (t *torture) readAll(ctx context.Context, store queue.Reader) (map[mail.ID]string, error) {
	found := map[mail.ID]string{}
	for page := (queue.Page{}); ; {
		entries, err := store.List(ctx, queue.Filter{}, page)
		if err != nil || len(entries) == 0 {
			return found, err
		}
		for i := range entries {
			id := entries[i].ID
			if found[id], err = hashOf(ctx, store, entries[i].Body); err != nil && !errors.Is(err, queue.ErrDamaged) {
				return nil, err
			}
			page.After = id
		}
	}
}

func hashOf(ctx context.Context, store queue.Reader, id mail.ID) (string, error) {
	body, err := store.Body(ctx, id)
	if err != nil {
		return unreadable, err
	}
	defer body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(body, 0, body.Size())); err != nil {
		return unreadable, err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

// compare counts what is not as it was said to be. What is found becomes what
// is expected the next time: a message may have been stored without a word.
func (t *torture) compare(found map[mail.ID]string) {
	for id, hash := range t.stored {
		got, there := found[id]
		switch {
		case !there && !t.settling[id]:
			t.result.Lost++
		case there && got != hash:
			t.result.Changed++
		}
	}
	for id, hash := range found {
		_, known := t.stored[id]
		switch {
		case t.settled[id]:
			t.result.Returned++
		case !known && hash == unreadable:
			t.result.Changed++
		}
		delete(t.settled, id) // told once
	}
	t.stored = found
	clear(t.settling)
}

package reload

import (
	"context"
	"errors"
	"sync"
)

// perRound is how many messages a client sends at most before it waits for the
// next reload.
const perRound = 5

func nothing() {}

// load lets clients of every kind send mail, each until the function that it
// returns is called, which waits for them. What goes wrong for one of them
// fails the test.
func (r *rig) load(ctx context.Context) (stop func()) {
	var clients sync.WaitGroup
	for name, client := range map[string]func(context.Context) error{
		"a connection for each message": r.fresh,
		"one connection for all":        r.kept,
		"one connection for all in TLS": r.keptTLS,
		"content that takes its time":   r.slow,
		"TLS begun late":                r.lateTLS,
		"the listener that goes":        r.visitor,
	} {
		for range 2 {
			clients.Go(func() {
				for !r.done() {
					if err := client(ctx); err != nil {
						r.t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
	}
	return func() {
		r.end()
		clients.Wait()
	}
}

// fresh sends a few messages, each over a connection of its own, and then waits
// for the next reload, which has begun by then, or begins.
func (r *rig) fresh(ctx context.Context) error {
	over := r.next()
	for range perRound {
		c, err := dial(ctx, r.postern.Addr())
		if err != nil {
			return err
		}
		if err := r.send(c, "all@next.example", nothing); err != nil {
			return err
		}
		if err := c.quit(); err != nil {
			return err
		}
	}
	<-over
	return nil
}

// kept has one session to the end, and is idle between two transactions.
func (r *rig) kept(ctx context.Context) error {
	c, err := dial(ctx, r.postern.Addr())
	if err != nil {
		return err
	}
	return r.sendOn(c)
}

func (r *rig) keptTLS(ctx context.Context) error {
	c, err := dial(ctx, r.postern.Addr())
	if err != nil {
		return err
	}
	if err := c.startTLS(r.trusted()); err != nil {
		return err
	}
	return r.sendOn(c)
}

func (r *rig) sendOn(c *client) error {
	for !r.done() {
		over := r.next()
		if err := r.send(c, "hold@next.example", nothing); err != nil {
			return err
		}
		<-over
	}
	return c.quit()
}

// slow is in the midst of its content at each reload.
func (r *rig) slow(ctx context.Context) error {
	c, err := dial(ctx, r.postern.Addr())
	if err != nil {
		return err
	}
	if err := r.send(c, "all@next.example", func() { <-r.next() }); err != nil {
		return err
	}
	return c.quit()
}

// lateTLS has said EHLO before a reload, and STARTTLS after it.
func (r *rig) lateTLS(ctx context.Context) error {
	c, err := dial(ctx, r.postern.Addr())
	if err != nil {
		return err
	}
	<-r.next()
	if err := c.startTLS(r.trusted()); err != nil {
		return err
	}
	if err := r.send(c, "all@next.example", nothing); err != nil {
		return err
	}
	return c.quit()
}

// visitor sends to the listener that comes and goes. It may be refused there,
// but once it was greeted its session goes on for as long as it likes.
func (r *rig) visitor(ctx context.Context) error {
	over := r.next()
	for _, address := range r.extra {
		c, err := dial(ctx, address)
		if errors.As(err, new(errNotGreeted)) {
			continue
		}
		if err != nil {
			return err
		}
		for range 3 {
			if err := r.send(c, "all@next.example", func() { <-r.next() }); err != nil {
				return err
			}
		}
		return c.quit()
	}
	<-over
	return nil
}

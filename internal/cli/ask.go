package cli

import (
	"context"
	"errors"
	"io"

	"postern/internal/admin"
	"postern/internal/daemon"
)

// ask asks the server that runs, and prints what it says.
func ask[T any](ctx context.Context, a *app, question func(*admin.Client, context.Context) (T, error), show func(*T)) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	said, err := question(client, ctx)
	if err != nil {
		return err
	}
	return present(a, &said, show)
}

// askEither asks the server that runs, or if none does, one within this process that works on its
// files.
func askEither[T any](ctx context.Context, a *app, within func(daemon.Maintenance) (*admin.Inside, error), question func(*admin.Client, context.Context) (T, error)) (said T, err error) {
	open := func(m daemon.Maintenance) (*admin.Client, io.Closer, error) {
		inside, err := within(m)
		if err != nil {
			return nil, nil, err
		}
		return inside.Client, inside, nil
	}
	err = a.withServer(ctx, open, func(c *admin.Client) (err error) {
		said, err = question(c, ctx)
		return err
	})
	return said, err
}

// withServer gives do a client of the server that runs; without one, of what open opens.
func (a *app) withServer(ctx context.Context, open func(daemon.Maintenance) (*admin.Client, io.Closer, error), do func(*admin.Client) error) (err error) {
	client, err := a.client()
	if err != nil {
		return err
	}
	if _, err := client.Status(ctx); !errors.Is(err, admin.ErrNotRunning) || a.socket != "" {
		if err != nil {
			return err
		}
		return do(client)
	}
	m, err := a.maintenance()
	if err != nil {
		return err
	}
	client, opened, err := open(m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	return do(client)
}

// present prints a value: as JSON, or as show does for people. The output
// remembers when that fails.
func present[T any](a *app, value *T, show func(*T)) error {
	if a.json {
		return a.printJSON(value)
	}
	show(value)
	return nil
}

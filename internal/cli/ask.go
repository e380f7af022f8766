package cli

import (
	"context"

	"postern/internal/admin"
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

// present prints a value: as JSON, or as show does for people. The output
// remembers when that fails.
func present[T any](a *app, value *T, show func(*T)) error {
	if a.json {
		return a.printJSON(value)
	}
	show(value)
	return nil
}

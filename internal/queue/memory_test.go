package queue_test

import (
	"errors"
	"testing"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/queuetest"
)

func TestMemory(t *testing.T) {
	queuetest.Run(t, func(t *testing.T, clock mail.Clock) *queuetest.Subject {
		left := 0 // commits until one fails; 0 is never
		store := queue.NewMemory(queue.Options{Clock: clock, Commit: func() error {
			if left == 0 {
				return nil
			}
			if left--; left > 0 {
				return nil
			}
			left = 1
			return errors.New("the disk is gone")
		}})
		return &queuetest.Subject{
			Store: store,
			Reopen: func() queue.Store {
				left = 0
				again, err := store.Reopen()
				if err != nil {
					t.Fatal(err)
				}
				store = again
				return store
			},
			FailCommit: func(n int) { left = n },
		}
	})
}

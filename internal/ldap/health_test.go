package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/metrics"
)

var errTest = errors.New("test")

// asker is a Directory without servers, to whom a memo belongs.
func asker(clock mail.Clock) *Directory {
	d := &Directory{options: Options{Settings: config.LDAP{Timeout: time.Minute}, Clock: clock, Metrics: NewMetrics(nil)}}
	d.ctx, d.end = context.WithCancel(context.Background())
	return d
}

// TestMemo: how long what is remembered, and for whom is asked.
func TestMemo(t *testing.T) {
	clock := mail.NewManualClock(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	d := asker(clock)
	m := newMemo(time.Hour, clock, func(s string) int { return len(s) })
	var asked int
	ask := func(key string, err error) error {
		_, _, got := recall(t.Context(), d, m, key, func(context.Context) (string, error) { asked++; return key, err })
		return got
	}
	check := func(want int, what string) {
		t.Helper()
		if asked != want {
			t.Errorf("%s: asked %d times, want %d", what, asked, want)
		}
		asked = 0
	}
	ask("a", nil)
	ask("a", nil)
	check(1, "remembered")
	clock.Advance(time.Hour)
	ask("a", nil)
	check(1, "too old")
	clock.Advance(-time.Minute)
	ask("a", nil)
	check(1, "the clock was set back")
	for range 2 {
		if err := ask("nobody", fmt.Errorf("x: %w", auth.ErrUnknown)); !errors.Is(err, auth.ErrUnknown) {
			t.Error(err)
		}
	}
	check(1, "nobody")
	clock.Advance(time.Hour / forUnknown)
	ask("nobody", auth.ErrUnknown)
	check(1, "nobody, later")
	ask("fails", errTest)
	ask("fails", errTest)
	check(2, "a failure is not remembered")
	m.forget("a")
	m.forget("never there")
	ask("a", nil)
	check(1, "forgotten")
	m.clear()
	ask("a", nil)
	ask("a", nil)
	check(2, "nothing is remembered any more")
	if m.weight != 0 || m.order.Len() != 0 || len(m.entries) != 0 || len(m.flights) != 0 {
		t.Errorf("left: weight %d, %d entries, %d flights", m.weight, len(m.entries), len(m.flights))
	}
}

// TestMemoIsBounded: by weight, and the latest used stay.
func TestMemoIsBounded(t *testing.T) {
	clock := mail.NewManualClock(time.Now())
	d := asker(clock)
	m := newMemo(time.Hour, clock, func(string) int { return maxWeight/4 - 1 })
	ask := func(key string) {
		_, _, _ = recall(t.Context(), d, m, key, func(context.Context) (string, error) { return key, nil })
	}
	for _, key := range []string{"a", "b", "c", "d", "a", "e"} {
		ask(key)
	}
	var keys []string
	for e := m.order.Front(); e != nil; e = e.Next() {
		keys = append(keys, e.Value.(kept[string]).key)
	}
	if want := []string{"e", "a", "d", "c"}; !slices.Equal(keys, want) || len(m.entries) != len(want) || m.weight != maxWeight {
		t.Errorf("%v, weight %d, want %v", keys, m.weight, want)
	}
}

// TestMemoShares: those who want the same wait for one question, which goes on when who
// asked first has gone.
func TestMemoShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := asker(mail.SystemClock{})
		m := newMemo(time.Hour, mail.SystemClock{}, func(string) int { return 0 })
		var asked int
		ask := func(ctx context.Context) (string, error) {
			value, _, err := recall(ctx, d, m, "k", func(ctx context.Context) (string, error) {
				asked++
				select {
				case <-time.After(10 * time.Second):
					return "v", nil
				case <-ctx.Done():
					return "", ctx.Err()
				}
			})
			return value, err
		}
		leaving, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		clients.Go(func() {
			if _, err := ask(leaving); !errors.Is(err, context.Canceled) {
				t.Errorf("who has gone: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			clients.Go(func() {
				if value, err := ask(t.Context()); value != "v" || err != nil {
					t.Errorf("%q, %v", value, err)
				}
			})
		}
		synctest.Wait()
		leave()
		clients.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		m.forget("k")
		clients.Go(func() {
			if _, err := ask(t.Context()); !errors.Is(err, context.Canceled) {
				t.Errorf("at the end: %v", err)
			}
		})
		synctest.Wait()
		d.Close() // waits
		clients.Wait()
	})
}

func TestMetrics(t *testing.T) {
	set := metrics.NewSet()
	m := NewMetrics(set)
	for _, err := range []error{nil, errBusy, errDown, errSlow} {
		m.asked(err)
	}
	m.remembered()
	families, err := set.Gatherer().Gather()
	if err != nil || len(families) != 2 {
		t.Fatalf("%v, %v", families, err)
	}
	got := map[string]float64{}
	for _, x := range families[0].GetMetric() {
		got[x.GetLabel()[0].GetValue()] = x.GetCounter().GetValue()
	}
	if diff := cmp.Diff(map[string]float64{"answered": 1, "busy": 1, "refused": 0, "failed": 2}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

package mail

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseSchedule(t *testing.T) {
	tests := []struct {
		in, out string
		want    Schedule
	}{
		{"1m 5m 15m 30m, every 1h until 5d", "", DefaultSchedule},
		{"every 90s until 2h", "", Schedule{Every: 90 * time.Second, Until: 2 * time.Hour}},
		{" 60s  120m ,every 24h  until 365d ", "1m 2h, every 1d until 365d",
			Schedule{Waits: []time.Duration{time.Minute, 2 * time.Hour}, Every: 24 * time.Hour, Until: 365 * 24 * time.Hour}},
	}
	for _, tt := range tests {
		got, err := ParseSchedule(tt.in)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseSchedule(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
		if tt.out == "" {
			tt.out = tt.in
		}
		if got.String() != tt.out {
			t.Errorf("%q is written %q, want %q", tt.in, got.String(), tt.out)
		}
	}
}

func TestParseScheduleRefusals(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "does not end in",
		"1m 5m":                           "does not end in",
		"1m 5m every 1h until 5d":         "does not end in",
		"1m, each 1h until 5d":            "does not end in",
		"1m, every 1h for 5d":             "does not end in",
		"1m, every 1h until 5d or so":     "does not end in",
		"1, every 1h until 5d":            `"1" is not a wait`,
		"m, every 1h until 5d":            `"m" is not a wait`,
		"0s, every 1h until 5d":           `"0s" is not a wait`,
		"+1m, every 1h until 5d":          `"+1m" is not a wait`,
		"-1m, every 1h until 5d":          `"-1m" is not a wait`,
		"1m 2w, every 1h until 5d":        `"2w" is not a wait`,
		"1m, every 1.5h until 5d":         `"1.5h" is not a wait`,
		"1m, every 1h until 366d":         `"366d" is not a wait`,
		"1m, every 1h until 99999999999d": `"99999999999d" is not a wait`,
	} {
		got, err := ParseSchedule(in)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "every 1h until 5d") {
			t.Errorf("ParseSchedule(%q) = %v, %v; want an error with %q and the right form", in, got, err, want)
		}
	}
}

func TestScheduleNext(t *testing.T) {
	s := Schedule{Waits: []time.Duration{time.Minute, 5 * time.Minute}, Every: time.Hour, Until: 3 * time.Hour}
	accepted := time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC)
	tests := []struct {
		attempt  int
		age      time.Duration
		wantWait time.Duration // 0 when there is no next attempt
	}{
		{1, 0, time.Minute},
		{2, time.Minute, 5 * time.Minute},
		{3, 6 * time.Minute, time.Hour},
		{99, time.Hour, time.Hour},
		{4, 150 * time.Minute, 30 * time.Minute}, // the last one, at the end
		{5, 3 * time.Hour, 0},
		{5, 4 * time.Hour, 0},
	}
	for _, tt := range tests {
		now := accepted.Add(tt.age)
		next, ok := s.Next(tt.attempt, accepted, now)
		if ok != (tt.wantWait > 0) || ok && !next.Equal(now.Add(tt.wantWait)) {
			t.Errorf("attempt %d at age %v: next %v, %v; want a wait of %v", tt.attempt, tt.age, next, ok, tt.wantWait)
		}
	}
}

// FuzzSchedule: what is accepted is written and read again as the same, and
// ends.
func FuzzSchedule(f *testing.F) {
	f.Add("1m 5m 15m 30m, every 1h until 5d")
	f.Add("every 1s until 365d")
	f.Add(",every 1s until 1s")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSchedule(in)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.String())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q is %+v, written %q, read again %+v, %v", in, s, s.String(), again, err)
		}
		accepted := time.Unix(0, 0)
		if next, ok := s.Next(1, accepted, accepted); !ok || !next.After(accepted) || next.After(accepted.Add(s.Until)) {
			t.Errorf("%q: the second attempt is at %v, %v", in, next, ok)
		}
	})
}

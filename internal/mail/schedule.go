package mail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule says when a failed delivery is attempted again, and for how long.
//
// Written out it is a list of waits, then the wait that repeats, then the
// age at which a recipient expires: "1m 5m 15m 30m, every 1h until 5d". The
// units are s, m, h and d.
type Schedule struct {
	// Waits are the waits before attempts 2, 3, ...
	Waits []time.Duration
	// Every is the wait before each attempt after those.
	Every time.Duration
	// Until is the age, counted from acceptance, at which a recipient that
	// still fails expires.
	Until time.Duration
}

// DefaultSchedule is used when nothing else was set.
var DefaultSchedule = Schedule{
	Waits: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute},
	Every: time.Hour,
	Until: 5 * 24 * time.Hour,
}

// Next returns the time of the attempt after the one numbered attempt, which
// ended at now, for a message accepted at accepted. ok is false when there is
// none: the recipient has expired. The last attempt is made when Until is
// reached, not before.
func (s Schedule) Next(attempt int, accepted, now time.Time) (next time.Time, ok bool) {
	end := accepted.Add(s.Until)
	if !now.Before(end) {
		return time.Time{}, false
	}
	wait := s.Every
	if attempt >= 1 && attempt <= len(s.Waits) {
		wait = s.Waits[attempt-1]
	}
	next = now.Add(wait)
	if next.After(end) {
		next = end
	}
	return next, true
}

// String returns the schedule as ParseSchedule reads it.
func (s Schedule) String() string {
	var b strings.Builder
	for i, w := range s.Waits {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(FormatWait(w))
	}
	if len(s.Waits) > 0 {
		b.WriteString(", ")
	}
	return b.String() + "every " + FormatWait(s.Every) + " until " + FormatWait(s.Until)
}

var errSchedule = errors.New(`write it as "1m 5m 15m 30m, every 1h until 5d"`)

// ParseSchedule reads a schedule. It fails with what was wrong and the form
// that is right.
func ParseSchedule(s string) (Schedule, error) {
	waits, rest, found := strings.Cut(s, ",")
	if !found {
		waits, rest = "", s
	}
	words := strings.Fields(rest)
	if len(words) != 4 || words[0] != "every" || words[2] != "until" {
		return Schedule{}, fmt.Errorf("%q does not end in \"every WAIT until AGE\": %w", s, errSchedule)
	}
	var schedule Schedule
	for _, word := range strings.Fields(waits) {
		wait, err := ParseWait(word)
		if err != nil {
			return Schedule{}, fmt.Errorf("%w: %w", err, errSchedule)
		}
		schedule.Waits = append(schedule.Waits, wait)
	}
	var err error
	if schedule.Every, err = ParseWait(words[1]); err != nil {
		return Schedule{}, fmt.Errorf("%w: %w", err, errSchedule)
	}
	if schedule.Until, err = ParseWait(words[3]); err != nil {
		return Schedule{}, fmt.Errorf("%w: %w", err, errSchedule)
	}
	return schedule, nil
}

// waitUnits are the units of a wait, largest first.
var waitUnits = []struct {
	suffix string
	unit   time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// maxWait keeps every sum of a time and a wait within what time can hold.
const maxWait = 365 * 24 * time.Hour

// ParseWait reads a time as a person writes it, a whole number and one of the
// units s, m, h and d; at most 365d. It fails with what was wrong and the form
// that is right.
func ParseWait(word string) (time.Duration, error) {
	for _, u := range waitUnits {
		digits, found := strings.CutSuffix(word, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31) // unlike ParseInt it takes no sign
		if err != nil || n == 0 || time.Duration(n) > maxWait/u.unit {
			break
		}
		return time.Duration(n) * u.unit, nil
	}
	return 0, fmt.Errorf("%q is not a wait from 1s to 365d, such as 90s, 15m, 1h or 5d", word)
}

// FormatWait writes a time as ParseWait reads it, in the largest unit that has
// it whole.
func FormatWait(d time.Duration) string {
	for _, u := range waitUnits {
		if d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.suffix
		}
	}
	return d.String()
}

package selftest

import (
	"fmt"
	"slices"
	"time"
)

// Level is how grave a finding is.
type Level string

// The levels of findings.
const (
	Good    Level = "good"
	Warning Level = "warning" // mail may be lost, or will be slow
	Failure Level = "failure" // mail was lost
)

// Finding is what a measurement means, in words for the person who runs the
// server.
type Finding struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Failed reports whether mail was lost.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == Failure })
}

// A sync of a disk that is honest takes longer than freeSync, and of one that
// is quick enough no longer than slowSync.
const (
	freeSync = 20 * time.Microsecond
	slowSync = 5 * time.Millisecond
)

// Short rounds a duration to what anybody cares for.
func Short(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(10 * time.Microsecond)
}

// judge says what was found.
func (r *Report) judge() []Finding {
	return append(r.judgeDisk(), r.judgeKills())
}

func (r *Report) judgeDisk() []Finding {
	var all []Finding
	warn := func(format string, args ...any) {
		all = append(all, Finding{Warning, fmt.Sprintf(format, args...)})
	}
	median := Short(r.Overwrite.Median)
	switch {
	case r.FileSystem.Kind == Memory:
		warn("This is memory (%s): it is empty after a power cut or a restart. Mail that was acknowledged would be lost. Put data_dir on a disk.", r.FileSystem.Name)
	case median < freeSync:
		warn("A sync costs nothing here (%v): this is memory, or a disk or hypervisor that does not do what it is told. A power cut may lose mail that was acknowledged. Only a disk that keeps its cache when the power fails may be so quick.", median)
	case median > slowSync:
		warn("A sync is slow here (%v): a client that waits for each 250 gets about %.0f messages a second accepted, and %s.", median, r.rate(1), r.many())
	default:
		all = append(all, Finding{Good, fmt.Sprintf("A sync takes %v: %s.", median, r.many())})
	}
	if r.FileSystem.Kind == Network {
		warn("This is not a disk of this machine (%s): what a sync or a lock is worth here is up to another program or machine, and two servers may come to open one queue. Put data_dir on a local disk.", r.FileSystem.Name)
	}
	return all
}

// rate is how many messages a second so many writers committed; 0 when that
// was not measured.
func (r *Report) rate(writers int) float64 {
	for _, c := range r.Commits {
		if c.Writers == writers {
			return c.PerSecond
		}
	}
	return 0
}

// many says what many clients get.
func (r *Report) many() string {
	most := slices.Max(writers)
	return fmt.Sprintf("%d clients at once get about %.0f messages of 4 KiB a second accepted", most, r.rate(most))
}

func (r *Report) judgeKills() Finding {
	k := &r.Kills
	if k.Lost+k.Changed+k.Returned > 0 {
		return Finding{Failure, fmt.Sprintf("MAIL WAS LOST: after %d kills, of %d acknowledged messages %d are missing and %d are not as they were; of %d delivered ones %d are there again. Do not use this program on this disk, and please report it with this output.",
			k.Kills, k.Acknowledged, k.Lost, k.Changed, k.Settled, k.Returned)}
	}
	return Finding{Good, fmt.Sprintf("Nothing was lost: a process was killed %d times while it accepted %d messages and delivered %d; afterwards all that should be there was, octet by octet, and nothing else. That speaks for the program. Whether the disk keeps what it was told to sync shows only when its power is cut.",
		k.Kills, k.Acknowledged, k.Settled)}
}

package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/crashpoint"
	"postern/test/harness"
)

// The kinds of kills.
const (
	whileStarting = "while it started"
	underLoad     = "under load"
	atPoint       = "at a crash point"
	notReached    = "under load, the crash point not reached"
)

// Environment of the binary that ends itself at crash points. Small segments
// make segments change, and contents move, with little mail.
const (
	crashAt      = "POSTERN_CRASH_AT="
	smallSegment = "POSTERN_SIZE_SEGMENT=300000"
	smallInline  = "POSTERN_SIZE_INLINE=1000"
)

// What is acknowledged before a kill under load, at most, and before it is
// believed that a crash point will not be reached.
const patience = 100

// killer kills Postern at every moment that it can think of.
type killer struct {
	random  *rand.Rand
	postern *harness.Postern
	load    *load
	// tagged is the binary that ends itself at crash points.
	tagged string

	kills   int
	named   int // kills that were to happen at a named step
	byKind  map[string]int
	reached map[string]int // lives in which a step was reached
	ended   map[string]int // lives that it ended
	logged  int64          // size of the log at the end of the last life
}

func newKiller(random *rand.Rand, p *harness.Postern, tagged string, l *load) *killer {
	return &killer{random: random, postern: p, tagged: tagged, load: l,
		byKind: map[string]int{}, reached: map[string]int{}, ended: map[string]int{}}
}

// kill starts Postern and sees to it that it is killed: by turns at a moment
// that time decides, and at a crash point.
func (k *killer) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	k.kills++
	var kind string
	var err error
	switch {
	case k.kills%2 == 0:
		kind, err = k.atPoint(ctx)
	case k.random.IntN(5) == 0:
		kind, err = whileStarting, k.whileStarting(ctx)
	default:
		kind = underLoad
		if err = k.postern.Start(ctx); err == nil {
			err = k.underLoad(ctx, k.random.IntN(patience))
		}
	}
	if err != nil {
		return fmt.Errorf("kill %d, %s: %w", k.kills, kind, err)
	}
	k.byKind[kind]++
	return k.readLog()
}

// killed reports whether the process of this life was killed. It fails when
// it came to another end.
func (k *killer) killed() (bool, error) {
	state := k.postern.State()
	if state == nil {
		return false, nil
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return true, nil
	}
	return true, fmt.Errorf("it ended by itself, with %v", state)
}

// whileStarting kills within the first moments, and mostly before it greets.
func (k *killer) whileStarting(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, time.Duration(k.random.IntN(200))*time.Millisecond)
	defer cancel()
	if k.postern.Start(starting) == nil {
		k.postern.Kill()
	}
	_, err := k.killed()
	return errors.Join(err, ctx.Err())
}

// underLoad kills when so many more messages are acknowledged, unless the
// process has killed itself before.
func (k *killer) underLoad(ctx context.Context, messages int) error {
	goal := k.load.acknowledged() + messages
	err := harness.Until(ctx, "enough messages are acknowledged", func() (bool, error) {
		killed, err := k.killed()
		return killed || k.load.acknowledged() >= goal, err
	})
	k.postern.Kill()
	return err
}

// atPoint has Postern end itself.
func (k *killer) atPoint(ctx context.Context) (kind string, err error) {
	at := k.point()
	err = k.postern.StartAs(ctx, k.tagged, crashAt+at, smallSegment, smallInline)
	if err == nil {
		err = k.underLoad(ctx, patience)
	} else if killed, other := k.killed(); killed && other == nil {
		err = ctx.Err() // it did not even come to greet
	}
	ended, logErr := k.endedAt()
	if err = errors.Join(err, logErr); err != nil {
		return atPoint + " " + at, err
	}
	if ended == "" {
		return notReached, nil
	}
	return atPoint, nil
}

// point chooses a crash point: by turns one of the named steps, one of those
// that were seen so far, or whichever comes after so many.
func (k *killer) point() string {
	switch k.random.IntN(3) {
	case 0:
		return fmt.Sprintf("any:%d", k.magnitude(5000))
	case 1:
		k.named++
		return fmt.Sprintf("%s:%d", crashpoint.Steps[k.named%len(crashpoint.Steps)].Step, k.times(100))
	}
	seen := slices.Sorted(maps.Keys(k.reached))
	if len(seen) == 0 {
		return "any:1"
	}
	return fmt.Sprintf("%s:%d", seen[k.random.IntN(len(seen))], k.times(30))
}

// times chooses how often a step is to be reached: half the time once, which
// is all that some steps are in a life.
func (k *killer) times(most float64) int {
	if k.random.IntN(2) == 0 {
		return 1
	}
	return k.magnitude(most)
}

// magnitude returns a number in which each magnitude up to most is as likely
// as the next.
func (k *killer) magnitude(most float64) int {
	return int(math.Exp(k.random.Float64() * math.Log(most)))
}

// What the log says.
var (
	reachesStep = regexp.MustCompile(`(?m)^crashpoint: first at (.+)$`)
	endsAtStep  = regexp.MustCompile(`(?m)^crashpoint: ends at (.+)$`)
	settledLine = regexp.MustCompile(`(?m)^time=\S+ level=\S+ msg=delivered message=\S+ to=<(\S+)> attempt=.*\n`)
)

// life returns what was logged in this life so far.
func (k *killer) life() (string, error) {
	f, err := os.Open(k.postern.Log())
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	text := make([]byte, info.Size()-k.logged)
	_, err = f.ReadAt(text, k.logged)
	return string(text), err
}

// endedAt returns the step at which this life ended itself; "" for none.
func (k *killer) endedAt() (string, error) {
	text, err := k.life()
	if step := endsAtStep.FindStringSubmatch(text); step != nil {
		return step[1], err
	}
	return "", err
}

// readLog takes note of what the log tells of the life that has ended.
func (k *killer) readLog() error {
	text, err := k.life()
	if err != nil {
		return err
	}
	k.logged += int64(len(text))
	for _, step := range reachesStep.FindAllStringSubmatch(text, -1) {
		k.reached[step[1]]++
	}
	for _, step := range endsAtStep.FindAllStringSubmatch(text, -1) {
		k.ended[step[1]]++
	}
	for _, line := range settledLine.FindAllStringSubmatch(text, -1) {
		k.load.settled(line[1])
	}
	return nil
}

// manyKills is how many kills must have ended a life at each named step.
const manyKills = 500

// report prints how it was killed.
func (k *killer) report(t *testing.T) {
	t.Helper()
	for _, kind := range slices.Sorted(maps.Keys(k.byKind)) {
		t.Logf("%d kills %s", k.byKind[kind], kind)
	}
	var b strings.Builder
	for _, step := range slices.Sorted(maps.Keys(k.reached)) {
		fmt.Fprintf(&b, "\n%5d %5d  %s", k.reached[step], k.ended[step], step)
	}
	t.Logf("crash points, with the lives that reached them and those that they ended:%s", b.String())
	for _, s := range crashpoint.Steps {
		if k.kills >= manyKills && k.ended[string(s.Step)] == 0 {
			t.Errorf("in %d kills the step %q ended no life", k.kills, s.Step)
		}
	}
}

//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// variable says where the process ends; when it is empty, nowhere.
const variable = "POSTERN_CRASH_AT"

// anyStep stands for every step.
const anyStep = "any"

// What is printed on standard error, each followed by a step.
const (
	saysReached = "crashpoint: first at "
	saysEnds    = "crashpoint: ends at "
)

// plan is where the process ends.
type plan struct {
	step string
	left atomic.Int64
	seen sync.Map // the steps that were reached
}

// thePlan is that of the process. Steps lie all over the program, and in a
// build for tests alone: to hand it down to each would bend the real program.
var thePlan = sync.OnceValue(func() *plan {
	p, err := newPlan(os.Getenv(variable))
	if err != nil {
		say("crashpoint: " + err.Error() + "\n")
		os.Exit(2)
	}
	return p
})

// newPlan reads a plan such as "before-250:3".
func newPlan(text string) (*plan, error) {
	if text == "" {
		return &plan{}, nil
	}
	colon := strings.LastIndexByte(text, ':')
	n, err := strconv.ParseInt(text[colon+1:], 10, 64)
	if colon < 1 || err != nil || n < 1 {
		return nil, fmt.Errorf("%s=%q: write a step and which time it is, such as %s:3", variable, text, Before250)
	}
	p := &plan{step: text[:colon]}
	p.left.Store(n)
	return p, nil
}

// due counts a step, and reports whether the process is to end at it.
func (p *plan) due(step string) bool {
	return (p.step == step || p.step == anyStep) && p.left.Add(-1) == 0
}

// say writes to standard error, past everything that could keep it.
func say(text string) { _, _ = syscall.Write(2, []byte(text)) }

// Reach ends the process when the plan says so.
func Reach(s Step) { reach(string(s)) }

func reach(step string) {
	p := thePlan()
	if _, seen := p.seen.LoadOrStore(step, true); !seen {
		say(saysReached + step + "\n")
	}
	if !p.due(step) {
		return
	}
	say(saysEnds + step + "\n")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until that has happened
}

// Size returns the size in octets that the environment variable
// POSTERN_SIZE_ and the name give instead of octets, so that what happens with
// much mail happens with little.
func Size(name string, octets int64) int64 {
	text := os.Getenv("POSTERN_SIZE_" + name)
	if text == "" {
		return octets
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		say(fmt.Sprintf("crashpoint: POSTERN_SIZE_%s=%q: write a number of octets\n", name, text))
		os.Exit(2)
	}
	return n
}

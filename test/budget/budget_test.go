// Package budget tests what a message costs: allocations in memory, calls of
// the system, syncs of the disk. It is no library.
//
// None of these depends on how quick the machine is. docs/performance.md says
// where a message's time goes; what is spent here is most of it. A bound lies a
// little above what is needed today, and beside it stands of what that is
// made. Who spends more raises it and says what for.
package budget

import (
	"context"
	"os"
	"testing"
	"time"

	"postern/test/harness"
)

// limit bounds each test here.
const limit = 2 * time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// within fails a test in which more was spent on a message than may be.
func within(t *testing.T, what string, spent, most float64) {
	t.Helper()
	t.Logf("%s a message: %.2f, at most %g", what, spent, most)
	if spent > most {
		t.Errorf("%.2f %s a message, at most %g", spent, what, most)
	}
}

// binary is the program, built once for all tests here.
var binary string

func TestMain(m *testing.M) { os.Exit(harness.RunWithBinary(m, &binary)) }

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postern/internal/queue"
)

// bar shows progress on a terminal, and nothing elsewhere.
type bar struct {
	out   io.Writer // nil: nowhere
	write func(queue.Progress) string
	last  time.Time
	wide  int // what stands in the line
}

// newBar counts octets.
func newBar(w io.Writer) *bar {
	return newBarOf(w, func(p queue.Progress) string { return size(p.Done) + " of " + size(p.Total) })
}

// newCounter counts something else.
func newCounter(w io.Writer, what string) *bar {
	return newBarOf(w, func(p queue.Progress) string { return fmt.Sprintf("%d of %d %s", p.Done, p.Total, what) })
}

func newBarOf(w io.Writer, write func(queue.Progress) string) *bar {
	b := &bar{write: write}
	if isTerminal(w) {
		b.out = w
	}
	return b
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// barWidth is the length of the bar itself, in characters.
const barWidth = 30

// show redraws the bar, at most ten times a second.
func (b *bar) show(p queue.Progress) {
	if now := time.Now(); b.out != nil && p.Total > 0 && now.Sub(b.last) >= 100*time.Millisecond {
		b.last = now
		p.Done = min(p.Done, p.Total)
		full := int(p.Done * barWidth / p.Total)
		b.draw(fmt.Sprintf("[%s%s] %3d%%  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), p.Done*100/p.Total, b.write(p)))
	}
}

func (b *bar) draw(line string) {
	fmt.Fprintf(b.out, "\r%-*s", b.wide, line)
	b.wide = len(line)
}

// end clears the line.
func (b *bar) end() {
	if b.wide > 0 {
		b.draw("")
		fmt.Fprint(b.out, "\r")
	}
}

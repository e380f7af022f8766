package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// event is what "go test -json" prints in a line (go doc test2json, and go
// help buildjson for those of a build).
type event struct {
	Action  string
	Package string
	Test    string // empty: it is about the package
	Output  string
	Elapsed float64 // seconds
}

// reader turns events back into what "go test" prints, and remembers how long
// each test took.
type reader struct {
	out      io.Writer
	packages map[string]*packageRun
	took     map[testName]*duration
}

type testName struct{ pkg, test string }

// duration is how long a test took with its subtests, and which of these took
// the longest.
type duration struct {
	seconds float64
	cached  bool // by an earlier run
	sub     string
	subTook float64
}

// packageRun is a package under way: what it has printed, in order, of tests
// that have not passed.
type packageRun struct {
	output []output
	passed map[string]bool // and those that were skipped
	last   string          // of the package's own lines
}

type output struct{ test, text string }

func newReader(out io.Writer) *reader {
	return &reader{out: out, packages: map[string]*packageRun{}, took: map[testName]*duration{}}
}

// read reads the output of one command to its end. A package that did not end
// is printed as one that failed.
func (r *reader) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err != nil {
			for _, name := range slices.Sorted(maps.Keys(r.packages)) {
				r.end(event{Action: "fail", Package: name})
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// line takes one line, which is passed on when it is no event.
func (r *reader) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(r.out, line)
		return
	}
	if e.Package == "" { // of a build
		fmt.Fprint(r.out, e.Output)
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &packageRun{passed: map[string]bool{}}
		r.packages[e.Package] = p
	}
	switch e.Action {
	case "output":
		p.add(e)
	case "pass", "skip", "fail":
		if e.Test == "" {
			r.end(e)
			return
		}
		p.passed[e.Test] = e.Action != "fail"
		r.note(e)
	}
}

// add keeps what may have to be printed: not the lines that say which test is
// under way, which "go test" leaves out.
func (p *packageRun) add(e event) {
	if e.Test == "" {
		p.last = e.Output
	}
	if !strings.HasPrefix(e.Output, "=== ") {
		p.output = append(p.output, output{e.Test, e.Output})
	}
}

// end prints a package that has ended: everything that did not pass, or the
// one line that says that all did.
func (r *reader) end(e event) {
	p := r.packages[e.Package]
	delete(r.packages, e.Package)
	if e.Action != "fail" {
		r.noteCached(e.Package, p.last)
		fmt.Fprint(r.out, p.last)
		return
	}
	for _, o := range p.output {
		if !p.passed[o.test] {
			fmt.Fprint(r.out, o.text)
		}
	}
}

// note remembers how long a test took. Its subtests end before it.
func (r *reader) note(e event) {
	top, _, isSub := strings.Cut(e.Test, "/")
	name := testName{e.Package, top}
	d := r.took[name]
	if d == nil {
		d = &duration{}
		r.took[name] = d
	}
	switch {
	case !isSub:
		d.seconds, d.cached = e.Elapsed, false
	case e.Elapsed > d.subTook:
		d.sub, d.subTook = e.Test, e.Elapsed
	}
}

// noteCached marks the tests of a package that were not run now.
func (r *reader) noteCached(pkg, last string) {
	if !strings.HasSuffix(last, "(cached)\n") {
		return
	}
	for name, d := range r.took {
		if name.pkg == pkg {
			d.cached = true
		}
	}
}

// printSlowest prints the n tests that took longest, each with its subtests
// and with the longest of those.
func (r *reader) printSlowest(n int) {
	names := slices.SortedFunc(maps.Keys(r.took), func(a, b testName) int {
		return cmp.Or(cmp.Compare(r.took[b].seconds, r.took[a].seconds), cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test))
	})
	names = names[:min(n, len(names))]
	fmt.Fprintf(r.out, "the %d slowest of %d tests:\n", len(names), len(r.took))
	for _, name := range names {
		d := r.took[name]
		line := fmt.Sprintf("%9s  %s %s", seconds(d.seconds), name.pkg, name.test)
		if d.sub != "" {
			line += fmt.Sprintf(" (of it %s: %s)", d.sub, seconds(d.subTook))
		}
		if d.cached {
			line += " (cached)"
		}
		fmt.Fprintln(r.out, line)
	}
}

func seconds(s float64) string {
	return (time.Duration(s*1000) * time.Millisecond).String()
}

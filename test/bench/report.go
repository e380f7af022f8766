package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/test/harness"
)

// row is a row of a table: one figure of one workload.
type row struct {
	title    string
	workload string
	figure   func(figures) float64
	format   string
	lower    bool // less is better
	bar      bar
}

// table says how the results of a comparison are shown: a column for each
// contender, then ratios, then what is asked of the first of them.
type table struct {
	rows    []row
	columns []string
	ratios  []ratio
	// traced are the contenders whose calls of fsync are shown, in the order
	// in which a cell has them.
	traced []string
}

// ratio compares one contender to the best of some others.
type ratio struct {
	title string // of its column
	of    string
	to    []string
}

// print prints the table with its results: the rows of workloads that were
// measured. A cell without any result has a dash.
func (t *table) print(out io.Writer, r results) {
	titles := slices.Clone(t.columns)
	for _, ratio := range t.ratios {
		titles = append(titles, ratio.title, "spread")
	}
	if t.hasTraces(r) {
		titles = append(titles, "fsyncs a message: "+strings.Join(t.traced, " / "))
	}
	if t.hasBars() {
		titles = append(titles, "floor", "goal")
	}
	fmt.Fprintln(out, "| |", strings.Join(titles, " | "), "|")
	fmt.Fprintln(out, "|---|"+strings.Repeat("---|", len(titles)))
	for _, row := range t.rows {
		if r.measured(row.workload) {
			fmt.Fprintln(out, "|", strings.Join(t.cells(row, r), " | "), "|")
		}
	}
}

// cells are the cells of a row.
func (t *table) cells(row row, r results) []string {
	cells := []string{row.title}
	for _, name := range t.columns {
		cells = append(cells, r.cell(row, name))
	}
	for _, ratio := range t.ratios {
		cells = append(cells, ratioCells(r.ratios(row, ratio))...)
	}
	if t.hasTraces(r) {
		cells = append(cells, t.traceCell(row, r))
	}
	if t.hasBars() {
		cells = append(cells, t.barCells(row, r)...)
	}
	return cells
}

// measured reports whether there are results under a workload.
func (r results) measured(workload string) bool {
	for key := range r {
		if key.workload == workload {
			return true
		}
	}
	return false
}

// values returns a row's figures of one contender, one for each round.
func (r results) values(row row, contender string) []float64 {
	var values []float64
	for _, f := range r[resultKey{contender: contender, workload: row.workload}] {
		values = append(values, row.figure(f))
	}
	return values
}

// cell is the median of a contender's figures.
func (r results) cell(row row, contender string) string {
	values := r.values(row, contender)
	if len(values) == 0 || contender == noRelay && row.lower {
		return "–"
	}
	return fmt.Sprintf(row.format, harness.Median(values))
}

// ratios are those of the rounds; none where one side has no results.
func (r results) ratios(row row, ratio ratio) []float64 {
	of, to := r.values(row, ratio.of), r.best(row, ratio.to)
	if len(to) == 0 {
		return nil
	}
	ratios := make([]float64, min(len(of), len(to))) // the last round may have ended early
	for i := range ratios {
		ratios[i] = of[i] / to[i]
	}
	return ratios
}

// best returns the figures of whichever of some contenders has the best
// median.
func (r results) best(row row, contenders []string) []float64 {
	var best []float64
	for _, name := range contenders {
		if values := r.values(row, name); best == nil {
			best = values
		} else {
			best = better(best, values, row.lower)
		}
	}
	return best
}

// better returns whichever series has the better median.
func better(a, b []float64, lower bool) []float64 {
	if (harness.Median(a) < harness.Median(b)) == lower {
		return a
	}
	return b
}

const unmeasured = "unmeasured"

// ratioCells are the median of the rounds' ratios with their range, and
// their spread.
func ratioCells(ratios []float64) []string {
	if len(ratios) == 0 {
		return []string{"–", "–"}
	}
	spread := fmt.Sprintf("%.0f %%", 100*harness.Spread(ratios))
	if harness.Spread(ratios) > harness.MaxSpread {
		spread += ", " + unmeasured
	}
	return []string{fmt.Sprintf("%.2f × (%.2f – %.2f)", harness.Median(ratios), slices.Min(ratios), slices.Max(ratios)), spread}
}

// hasTraces reports whether any calls were counted.
func (t *table) hasTraces(r results) bool {
	for key := range r {
		if key.traced && slices.Contains(t.traced, key.contender) {
			return true
		}
	}
	return false
}

// traceCell has the fsyncs per message of those that were traced.
func (t *table) traceCell(row row, r results) string {
	var counts []string
	for _, name := range t.traced {
		count := "–"
		if f := r[resultKey{name, row.workload, true}]; len(f) > 0 {
			count = fmt.Sprintf("%.2f", f[0].fsyncsEach())
		}
		counts = append(counts, count)
	}
	return strings.Join(counts, " / ")
}

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
	// lower says that less is better.
	lower bool
}

// table says how the results of a comparison are shown: a column for each
// contender, then the ratio of one of them to the best of some others.
type table struct {
	rows    []row
	columns []string
	ratio   string // the title of its column
	of      string
	to      []string
}

// print prints the table with its results. A cell without any has a dash.
func (t *table) print(out io.Writer, r results) {
	fmt.Fprintln(out, "| |", strings.Join(t.columns, " | "), "|", t.ratio, "| spread |")
	fmt.Fprintln(out, "|---|"+strings.Repeat("---|", len(t.columns)+2))
	for _, row := range t.rows {
		cells := []string{row.title}
		for _, name := range t.columns {
			cells = append(cells, r.cell(row, name))
		}
		fmt.Fprintln(out, "|", strings.Join(append(cells, t.ratioCells(row, r)...), " | "), "|")
	}
}

// values returns a row's figures of one contender, one for each round.
func (r results) values(row row, contender string) []float64 {
	var values []float64
	for _, f := range r[resultKey{contender, row.workload}] {
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

// ratioCells are the median of the rounds' ratios with their range, and
// their spread.
func (t *table) ratioCells(row row, r results) []string {
	of, to := r.values(row, t.of), t.best(row, r)
	if len(of) == 0 || len(to) == 0 {
		return []string{"–", "–"}
	}
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / to[i]
	}
	ratio := fmt.Sprintf("%.2f × (%.2f – %.2f)", harness.Median(ratios), slices.Min(ratios), slices.Max(ratios))
	s := harness.Spread(ratios)
	verdict := fmt.Sprintf("%.0f %%", 100*s)
	if s > harness.MaxSpread {
		verdict += ", unmeasured"
	}
	return []string{ratio, verdict}
}

// best returns the figures of whichever of the others has the best median.
func (t *table) best(row row, r results) []float64 {
	var best []float64
	for _, name := range t.to {
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

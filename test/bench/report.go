package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxSpread is the spread above which a row counts as unmeasured.
const maxSpread = 0.15

// report prints the table.
func (b *runner) report(out io.Writer) {
	fmt.Fprintln(out, "| |", strings.Join(columns, " | "), "| Postern / better Postfix | spread |")
	fmt.Fprintln(out, "|---|"+strings.Repeat("---|", len(columns)+2))
	for _, r := range rows() {
		cells := []string{r.title}
		for _, name := range columns {
			cells = append(cells, b.cell(r, name))
		}
		fmt.Fprintln(out, "|", strings.Join(append(cells, b.ratioCells(r)...), " | "), "|")
	}
}

var columns = []string{noRelay, postfixShipped, postfixTuned, posternName}

// values returns a row's figures of one relay, one for each round.
func (b *runner) values(r row, relay string) []float64 {
	var values []float64
	for _, f := range b.results[resultKey{relay, r.workload}] {
		values = append(values, r.figure(f))
	}
	return values
}

// cell is the median of a relay's figures.
func (b *runner) cell(r row, relay string) string {
	values := b.values(r, relay)
	if len(values) == 0 || relay == noRelay && r.lower {
		return "–"
	}
	return fmt.Sprintf(r.format, median(values))
}

// ratioCells are the median of the rounds' ratios with their range, and
// their spread.
func (b *runner) ratioCells(r row) []string {
	postern := b.values(r, posternName)
	if len(postern) == 0 {
		return []string{"–", "–"}
	}
	postfix := better(b.values(r, postfixShipped), b.values(r, postfixTuned), r.lower)
	ratios := make([]float64, len(postern))
	for i := range postern {
		ratios[i] = postern[i] / postfix[i]
	}
	ratio := fmt.Sprintf("%.2f × (%.2f – %.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
	s := spread(ratios)
	verdict := fmt.Sprintf("%.0f %%", 100*s)
	if s > maxSpread {
		verdict += ", unmeasured"
	}
	return []string{ratio, verdict}
}

// better returns whichever series has the better median.
func better(a, b []float64, lower bool) []float64 {
	if (median(a) < median(b)) == lower {
		return a
	}
	return b
}

// median returns the middle value, or the mean of the two in the middle.
func median(values []float64) float64 { return quantile(values, 0.5) }

// spread returns the distance between the quartiles as a part of the median:
// a single round that something disturbed does not count.
func spread(values []float64) float64 {
	return (quantile(values, 0.75) - quantile(values, 0.25)) / median(values)
}

// quantile interpolates between the sorted values.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

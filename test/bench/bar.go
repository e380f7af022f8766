package main

import (
	"fmt"
	"slices"

	"postern/test/harness"
)

// bar is what is asked of a row. The zero value asks nothing.
type bar struct {
	floor, goal float64 // what it must, and what it should reach
	// absolute says that they are bounds of the figure itself, which must not
	// be larger; otherwise they are bounds of its ratio, which must not be
	// smaller.
	absolute bool
}

func (t *table) hasBars() bool {
	for _, row := range t.rows {
		if row.bar != (bar{}) {
			return true
		}
	}
	return false
}

// barCells say what is asked of a row, and whether it is met.
func (t *table) barCells(row row, r results) []string {
	if row.bar == (bar{}) {
		return []string{"–", "–"}
	}
	values := r.ratios(row, t.ratios[0])
	if row.bar.absolute {
		values = r.values(row, t.ratios[0].of)
	}
	return []string{row.bar.verdict(row.bar.floor, values), row.bar.verdict(row.bar.goal, values)}
}

// verdict compares the median of values with a bound.
func (b bar) verdict(bound float64, values []float64) string {
	text := fmt.Sprintf("%v ×", bound)
	if b.absolute {
		text = fmt.Sprintf("≤ %v", bound)
	}
	switch {
	case !b.judges(values, bound):
		return text + ": " + unmeasured
	case b.reaches(harness.Median(values), bound):
		return text + ": met"
	default:
		return text + ": not met"
	}
}

// fewestRatios are needed to judge by their median.
const fewestRatios = 5

// judges reports whether values say anything of a bound. Ratios must be several
// and close together; other figures may be spread where all are on one side.
func (b bar) judges(values []float64, bound float64) bool {
	if len(values) == 0 {
		return false
	}
	narrow := harness.Spread(values) <= harness.MaxSpread
	if b.absolute {
		return narrow || b.agree(values, bound)
	}
	return narrow && len(values) >= fewestRatios
}

// agree reports whether all values are on the same side of a bound.
func (b bar) agree(values []float64, bound float64) bool {
	return b.reaches(slices.Min(values), bound) == b.reaches(slices.Max(values), bound)
}

func (b bar) reaches(value, bound float64) bool {
	if b.absolute {
		return value <= bound
	}
	return value >= bound
}

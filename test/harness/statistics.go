package harness

import "slices"

// MaxSpread is the spread above which figures count as unmeasured: whatever
// they say, the machine said more.
const MaxSpread = 0.15

// Median returns the middle value, or the mean of the two in the middle.
func Median(values []float64) float64 { return quantile(values, 0.5) }

// Spread returns the distance between the quartiles as a part of the median:
// a single round that something disturbed does not count.
func Spread(values []float64) float64 {
	return (quantile(values, 0.75) - quantile(values, 0.25)) / Median(values)
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

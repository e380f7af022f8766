package deliver

import "time"

// firstTransactions is how many transactions may be under way in the first
// second after a start. In each second that follows they may be twice as
// many, so that a program that crashes and starts again and again does not
// fall upon its peers each time with all it has.
const firstTransactions = 5

// paced is how many of most transactions may be under way at a time after the
// start, and when there may be more; zero when there will not.
func paced(most int, start, now time.Time) (limit int, more time.Time) {
	seconds := int(max(0, now.Sub(start)) / time.Second)
	limit = firstTransactions
	for i := 0; i < seconds && limit < most; i++ {
		limit *= 2
	}
	if limit >= most {
		return most, time.Time{}
	}
	return limit, start.Add(time.Duration(seconds+1) * time.Second)
}

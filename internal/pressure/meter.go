package pressure

import (
	"fmt"
	"time"
)

// meter is one kind of pressure.
type meter struct {
	kind    Kind
	watched func() bool
	read    func() reading
	since   time.Time // zero while there is enough
	text    string    // of the last reading
}

// look reads the meter. Of what is not watched there always is enough.
func (m *meter) look() reading {
	if !m.watched() {
		return reading{ample, "it is not watched"}
	}
	return m.read()
}

// effect is what this pressure does, for the log.
func (m *meter) effect() string {
	if m.kind == Slow {
		return "fewer connections are served"
	}
	return "no mail is taken"
}

// reading is what a look at a meter says.
type reading struct {
	verdict verdict
	text    string // the figures
}

// verdict is what a reading means.
type verdict uint8

const (
	unknown verdict = iota // it could not be measured: nothing changes
	between                // enough to go on as it is
	short                  // pressure begins
	ample                  // pressure ends
)

// spare is how much more than the least must be there for pressure to end: an
// eighth of it.
const spare = 8

// judged says what is to be thought of having so much where least must be.
func judged(have, least int64) verdict {
	switch {
	case have < least:
		return short
	case have-least >= least/spare:
		return ample
	}
	return between
}

// judgedBy is the reading of what fails or does not.
func judgedBy(failure error, well string) reading {
	if failure != nil {
		return reading{short, failure.Error()}
	}
	return reading{ample, well}
}

// octets writes a number of octets for people.
func octets(n int64) string {
	const mib = 1 << 20
	if n < mib {
		return fmt.Sprintf("%d octets", n)
	}
	return fmt.Sprintf("%d MiB", n/mib)
}

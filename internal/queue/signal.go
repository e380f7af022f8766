package queue

// Signal wakes one waiting reader. Raising it again before the reader has
// looked changes nothing. Make it with NewSignal.
type Signal chan struct{}

// NewSignal returns a signal that is not raised.
func NewSignal() Signal { return make(Signal, 1) }

// Raise wakes the reader; it never blocks.
func (s Signal) Raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

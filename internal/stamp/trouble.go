package stamp

import "time"

// Trouble is why a file that is read again when it changes cannot be used, so that what it said
// before stays in force. The zero Trouble is none. Who has it locks.
type Trouble struct {
	Err   error // nil: none
	Since time.Time
}

// Note notes why the file cannot be used, and reports whether that is news: there was no
// trouble, or another.
func (t *Trouble) Note(err error, now time.Time) (news bool) {
	if t.Err == nil {
		t.Since = now
	}
	news = t.Err == nil || t.Err.Error() != err.Error()
	t.Err = err
	return news
}

// End notes that the file can be used, and reports whether there was trouble.
func (t *Trouble) End() (was bool) {
	was = t.Err != nil
	*t = Trouble{}
	return was
}

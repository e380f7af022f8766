package embedded

import (
	"context"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Stat tells what the store takes and holds.
func (s *Store) Stat(ctx context.Context) (queue.Stat, error) {
	if err := s.enter(ctx); err != nil {
		return queue.Stat{}, err
	}
	defer s.gate.leave()
	view, err := s.view()
	if err != nil {
		return queue.Stat{}, err
	}
	defer view.Close()
	st := queue.Stat{
		Directory: s.dir, Format: formatVersion, Segments: []queue.Segment{},
		Deliveries: s.index.Deliveries(), Bodies: s.ledger.count(),
		Database: s.db.Metrics().DiskSpaceUsage(),
		Moved:    s.reclaimer.moved.Load(), RowsRead: s.rowsRead.Load(), Memory: s.Memory(),
	}
	s.statLog(&st)
	for p, err := range scanPrefix(view, headerPrefix) {
		if err != nil {
			return queue.Stat{}, err
		}
		if st.Entries++; st.Entries > 1 {
			continue
		}
		st.Oldest = mail.ID(p.key[1:])
		if e, err := decodeHeader(p.key, p.value); err == nil {
			st.Accepted = e.Accepted
		}
	}
	for _, err := range scanPrefix(view, damagePrefix) {
		if err != nil {
			return queue.Stat{}, err
		}
		st.Aside++
	}
	return st, nil
}

// statLog fills in what the body log says of itself.
func (s *Store) statLog(st *queue.Stat) {
	log := s.log.Stat()
	for _, g := range log.Segments {
		st.Segments = append(st.Segments, queue.Segment{
			Number: g.Number, Size: g.Size, Live: g.Live, Bodies: g.Records, Created: g.Created, Active: g.Active,
		})
	}
	st.Files, st.FileSize, st.Spare = log.Files, log.FileSize, log.Spare
}

// Stat tells what the store in a directory takes and holds, when nobody has
// it open. It changes nothing.
func Stat(ctx context.Context, dir string, o Options) (queue.Stat, error) {
	s, err := openToRead(dir, o)
	if err != nil {
		return queue.Stat{}, err
	}
	st, err := s.Stat(ctx)
	s.closeToRead()
	return st, err
}

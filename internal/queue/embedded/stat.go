package embedded

import (
	"context"
	"time"

	"postern/internal/mail"
	"postern/internal/seglog"
)

// Stat is what the store takes on the disk, and what is in it.
type Stat struct {
	Directory string `json:"directory"`
	Format    int    `json:"format"`
	// Entries, Deliveries and Bodies count what is stored; Aside the entries
	// that were set aside as damaged.
	Entries    int `json:"entries"`
	Deliveries int `json:"deliveries"`
	Bodies     int `json:"bodies"`
	Aside      int `json:"aside"`
	// Oldest is the entry that was accepted first; empty when there is none.
	Oldest   mail.ID   `json:"oldest,omitempty"`
	Accepted time.Time `json:"accepted,omitzero"` // when that was
	// Database is what the database takes, in octets.
	Database uint64      `json:"database"`
	Log      seglog.Stat `json:"log"`
	// Moved counts the contents that were moved out of sparse segments since
	// the store was opened; Memory is what Store.Memory says.
	Moved  uint64 `json:"moved"`
	Memory int64  `json:"memory"`
}

// Stat tells what the store takes and holds.
func (s *Store) Stat(ctx context.Context) (Stat, error) {
	if err := s.enter(ctx); err != nil {
		return Stat{}, err
	}
	defer s.gate.leave()
	view, err := s.view()
	if err != nil {
		return Stat{}, err
	}
	defer view.Close()
	st := Stat{
		Directory: s.dir, Format: formatVersion,
		Deliveries: s.index.Deliveries(), Bodies: s.ledger.count(),
		Database: s.db.Metrics().DiskSpaceUsage(), Log: s.log.Stat(),
		Moved: s.reclaimer.moved.Load(), Memory: s.Memory(),
	}
	for p, err := range scanPrefix(view, headerPrefix) {
		if err != nil {
			return Stat{}, err
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
			return Stat{}, err
		}
		st.Aside++
	}
	return st, nil
}

package embedded

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// health is what Pebble says, while it works, of the state of its files.
type health struct {
	logger *slog.Logger

	mu      sync.Mutex
	damaged []string // paths of files, as they were found
}

// listener hears what Pebble does in the background. An error there is not a
// failed commit: the log still has everything, and Pebble tries again. Damage
// it finds again with each try, and is told once a file.
func (h *health) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if !pebble.IsCorruptionError(err) { // else it was told
				h.logger.Error("queue: background work failed", "error", err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) { h.found(info.Path, info.Details) },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			h.logger.Warn("queue: the disk is slow", "file", info.Path, "operation", info.OpType.String(), "duration", info.Duration)
		},
		LowDiskSpace: func(info pebble.LowDiskSpaceInfo) {
			h.logger.Warn("queue: the disk is nearly full", "state", info.String())
		},
	}
}

// found notes that a file is damaged.
func (h *health) found(path string, why error) {
	h.mu.Lock()
	known := slices.Contains(h.damaged, path)
	if !known {
		h.damaged = append(h.damaged, path)
	}
	h.mu.Unlock()
	if !known {
		h.logger.Error("queue: a file of the database is damaged; messages in it are set aside when they are needed; stop the server and run `postern store salvage`",
			"file", path, "error", plain(why))
	}
}

func (h *health) files() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.damaged)
}

// DamagedFiles returns the files of the database that were found damaged since
// the store was opened. The rest goes on; a salvage mends them.
func (s *Store) DamagedFiles() []string { return s.health.files() }

// Crowding of the database's first level: Pebble stops all writing at
// stopWrites, and nothing more is accepted from refuseWrites on, so that what
// is stored can still be settled.
const (
	stopWrites   = 20
	refuseWrites = 12
)

// Stuck says why nothing more should be accepted: the database cannot tidy
// up what is written, and would stop all writing before long. That happens
// where a damaged block is in the way. It returns nil while all is well.
func (s *Store) Stuck() error {
	if s.gate.enter() != nil {
		return nil
	}
	defer s.gate.leave()
	n := s.db.Metrics().Levels[0].Sublevels
	if n < refuseWrites {
		return nil
	}
	why := "does not come to tidy up"
	if files := s.DamagedFiles(); len(files) > 0 {
		why = "cannot tidy up because of damage in " + strings.Join(files, ", ")
	}
	return fmt.Errorf("the database %s, and has %d of at most %d levels of untidy files", why, n, stopWrites)
}

package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Snapshot is what a server has at one moment, as files that stay as they are
// until Release.
type Snapshot struct {
	Files []SnapshotFile
	// KeyFile is that of credentials, which is not among them although something is sealed under it.
	KeyFile string
	Release func() error
}

// SnapshotOrder says of what a snapshot is to be.
type SnapshotOrder struct {
	KeyFile bool `query:"key_file" doc:"With the key file of credentials: who has it and the rest has what is sealed"`
	// To is where the backup is to be, for people.
	To string `query:"to" maxLength:"4096" doc:"Where the backup is written to; the journal has it"`
}

// SnapshotFile is a file of a snapshot.
type SnapshotFile struct {
	Name string `json:"name"` // in a data directory, with slashes
	Path string `json:"path"` // where it lies, on the machine of the server
	// Size is how many octets belong to it; the rest came later.
	Size int64 `json:"size"`
	// Fixed says that it is never written again, so that it may be linked.
	Fixed bool `json:"fixed"`
}

// SnapshotLine is a line of the answer to a backup: one of its members is set.
type SnapshotLine struct {
	File *SnapshotFile `json:"file,omitempty"`
	// Ready comes behind the last file. What follows are empty lines, until the
	// client has what it wants and leaves.
	Ready   *SnapshotReady `json:"ready,omitempty"`
	Problem *Problem       `json:"problem,omitempty"` // in the last line
}

// SnapshotReady says what the snapshot is of.
type SnapshotReady struct {
	Made    time.Time `json:"made"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	KeyFile string    `json:"key_file,omitempty" doc:"The key file of credentials, if it is not in the snapshot and something is sealed under it"`
}

func (s *Server) backupOperations() {
	stream(s, huma.Operation{OperationID: "backup", Method: http.MethodPost, Path: "/v1/backup",
		Summary: "A snapshot of store, journal, directory and keys: files on the machine of the server, which stay while the client listens"}, s.backup)
}

// backup makes a snapshot and keeps it until the client leaves.
func (s *Server) backup(ctx context.Context, in *SnapshotOrder, out *lines[SnapshotLine]) (err error) {
	made := s.Clock.Now()
	snapshot, err := s.Snapshot(ctx, actor(ctx), *in)
	if err != nil {
		return err
	}
	s.Logger.Info("a backup begins; what it is made of takes its room until it ends", "actor", actor(ctx), "to", in.To, "key_file", in.KeyFile)
	defer func() {
		if err := snapshot.Release(); err != nil {
			s.Logger.Error("the files of a backup cannot be removed; they go at the next start", "error", err)
			return
		}
		s.Logger.Info("the backup has ended", "actor", actor(ctx))
	}()
	for i := range snapshot.Files {
		if err := out.send(SnapshotLine{File: &snapshot.Files[i]}); err != nil {
			return nil // the client has left
		}
	}
	status := s.Status()
	if err := out.sendNow(SnapshotLine{Ready: &SnapshotReady{Made: made, Host: status.Hostname, Version: status.Version, KeyFile: snapshot.KeyFile}}); err != nil {
		return nil
	}
	tick := time.NewTicker(stallTimeout / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := out.sendNow(SnapshotLine{}); err != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

package admin_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"postern/internal/admin"
)

// snapshots are those of a server.
type snapshots struct {
	err       error
	actor, to string // who has made the last, and for where
	released  chan struct{}
}

var snapshotFiles = []admin.SnapshotFile{
	{Name: "queue/made", Path: "/data/queue/made", Fixed: true}, {Name: "journal/1", Path: "/data/journal/snapshot/1", Size: 7},
}

func (s *snapshots) make(_ context.Context, actor string, o admin.SnapshotOrder) (admin.Snapshot, error) {
	s.actor, s.to = actor, o.To
	if s.err != nil {
		return admin.Snapshot{}, s.err
	}
	made := admin.Snapshot{Files: snapshotFiles, KeyFile: "/etc/key", Release: func() error { s.released <- struct{}{}; return nil }}
	if o.KeyFile {
		made.KeyFile = ""
	}
	return made, nil
}

func serveSnapshots(t *testing.T, s *snapshots) *admin.Client {
	t.Helper()
	s.released = make(chan struct{}, 1)
	_, client := serve(t, admin.Options{Snapshot: s.make, Status: func() admin.Status { return admin.Status{Version: "1", Hostname: "gate.example"} }})
	return client
}

// TestBackup: the client gets the files, and the server keeps them until the
// client has done with them, in whatever way.
func TestBackup(t *testing.T) {
	s := new(snapshots)
	client := serveSnapshots(t, s)
	broken := errors.New("broken")
	for _, want := range []error{nil, broken} {
		o := admin.SnapshotOrder{KeyFile: want != nil, To: "/backup/a & b"}
		err := client.Backup(t.Context(), o, func(ctx context.Context, of admin.SnapshotReady, files []admin.SnapshotFile) error {
			if of.Host != "gate.example" || of.Version != "1" || of.Made.IsZero() || o.KeyFile != (of.KeyFile == "") || !slices.Equal(files, snapshotFiles) {
				t.Errorf("%+v, %+v", of, files)
			}
			if s.to != o.To || s.actor == "" {
				t.Errorf("made by %q for %q", s.actor, s.to)
			}
			if len(s.released) > 0 || ctx.Err() != nil {
				t.Error("the files went before they were copied")
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("it ends with %v, want %v", err, want)
		}
		<-s.released
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := client.Backup(ctx, admin.SnapshotOrder{}, func(ctx context.Context, _ admin.SnapshotReady, _ []admin.SnapshotFile) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a client that gave up: %v", err)
	}
	<-s.released
}

// TestBackupRefused: without a snapshot nothing is copied.
func TestBackupRefused(t *testing.T) {
	client := serveSnapshots(t, &snapshots{err: admin.ErrBusy})
	err := client.Backup(t.Context(), admin.SnapshotOrder{}, func(context.Context, admin.SnapshotReady, []admin.SnapshotFile) error {
		t.Error("copied")
		return nil
	})
	if problem, ok := errors.AsType[*admin.Problem](err); !ok || problem.Status != http.StatusConflict {
		t.Errorf("it says %v", err)
	}
}

// TestBackupServerEnds: when the server ends meanwhile the copying does too,
// and it says why.
func TestBackupServerEnds(t *testing.T) {
	s := &snapshots{released: make(chan struct{}, 1)}
	path := t.TempDir() + "/s"
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := admin.NewServer(admin.Options{Snapshot: s.make, Status: func() admin.Status { return admin.Status{} }})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	err = admin.NewClient(path).Backup(t.Context(), admin.SnapshotOrder{}, func(ctx context.Context, _ admin.SnapshotReady, _ []admin.SnapshotFile) error {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		if err := server.Shutdown(over); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "the server has ended meanwhile") {
		t.Errorf("it says %v", err)
	}
	<-s.released
	if err := <-served; err != nil {
		t.Error(err)
	}
}

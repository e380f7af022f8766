package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

func (l *SnapshotLine) failed() *Problem { return l.Problem }

// errSnapshotGone says that the files of a snapshot are not kept any more.
var errSnapshotGone = errors.New("the server has ended meanwhile; what it was copied from is gone")

// Backup has the server make a snapshot, and calls copyFiles with its files,
// which stay as they are until that returns. Its context ends when they do not.
func (c *Client) Backup(ctx context.Context, o SnapshotOrder, copyFiles func(context.Context, SnapshotReady, []SnapshotFile) error) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	copyCtx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	copied := make(chan error, 1) // what copyFiles returned, once it has begun
	begun := false
	var files []SnapshotFile
	r := request{method: http.MethodPost, path: "/v1/backup", values: url.Values{"to": {o.To}}}
	if o.KeyFile {
		r.values.Set("key_file", "true")
	}
	err := readLines(ctx, c, r, func(l *SnapshotLine) error {
		switch {
		case l.File != nil:
			files = append(files, *l.File)
		case l.Ready != nil && !begun:
			begun = true
			go func() {
				copied <- copyFiles(copyCtx, *l.Ready, files)
				leave()
			}()
		}
		return nil
	})
	if !begun {
		return errors.Join(err, unlessCalledFor(err))
	}
	gone(errSnapshotGone) // does nothing when it was the client that left
	if err := <-copied; err != nil {
		if context.Cause(copyCtx) == errSnapshotGone && errors.Is(err, context.Canceled) {
			return errSnapshotGone
		}
		return err
	}
	return nil
}

// unlessCalledFor is the error of a stream that ended before its time.
func unlessCalledFor(err error) error {
	if err != nil {
		return nil
	}
	return errSnapshotGone
}

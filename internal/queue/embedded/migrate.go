package embedded

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// The database of each format has a directory of its own, so that an older
// one is never written to: the new one is made beside it under another name,
// renamed when it is whole, and only then the old one removed.
const (
	databaseName   = "db-2"
	unfinishedName = "db-2.new"
	formatOneName  = "db"
)

// checkFormat refuses what a newer program wrote.
func (s *Store) checkFormat() error {
	names, err := s.options.FS.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, found := strings.CutPrefix(name, "db-")
		if n, err := strconv.Atoi(digits); found && err == nil && n > formatVersion {
			return fmt.Errorf("it has format %d (%s), but this program knows only up to %d: it was written by a newer version of the program, which must be used to open it",
				n, s.path(name), formatVersion)
		}
	}
	return nil
}

// migrate makes the database from one of format 1, if there is such a one and
// no newer. The store has its lock and its body log.
func (s *Store) migrate() error {
	files := s.options.FS
	if found, err := s.exists(databaseName); found || err != nil {
		return err
	}
	if found, err := s.exists(formatOneName); !found || err != nil {
		return err // a new store
	}
	s.options.Logger.Info("queue: migrating to a new format; the old database stays until that is done", "directory", s.dir, "from", 1, "to", formatVersion)
	if err := files.RemoveAll(s.path(unfinishedName)); err != nil {
		return err
	}
	if err := s.copyFormatOne(); err != nil {
		return fmt.Errorf("cannot migrate from format 1 (nothing is lost: %s is as it was): %w", s.path(formatOneName), err)
	}
	if err := files.Rename(s.path(unfinishedName), s.path(databaseName)); err != nil {
		return err
	}
	return syncDirectory(files, s.dir)
}

// removeOldFormat removes what was migrated, once the new database is open.
func (s *Store) removeOldFormat() error {
	path := s.path(formatOneName)
	if _, err := s.options.FS.Stat(path); err != nil {
		return nil
	}
	s.options.Logger.Info("queue: migrated; removing the database of the old format", "path", path)
	return s.options.FS.RemoveAll(path)
}

func (s *Store) copyFormatOne() (err error) {
	old, err := pebble.Open(s.path(formatOneName), &pebble.Options{
		FS: s.options.FS, ReadOnly: true, Logger: pebbleLogger{s.options.Logger, s.failure},
	})
	if err != nil {
		return fmt.Errorf("cannot open the old database: %w", err)
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	if s.db, err = s.openPebble(s.path(unfinishedName)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.Close()); s.db = nil }()
	m := &migration{store: s, old: old, batch: s.db.NewBatch()}
	if err := m.run(); err != nil {
		return err
	}
	return s.db.Flush()
}

// migration copies a database of format 1, in which deliveries were JSON and
// every content lay in chunks.
type migration struct {
	store *Store
	old   *pebble.DB
	batch *pebble.Batch
}

func (m *migration) run() error {
	for _, prefix := range []byte{attemptsPrefix, pendingPrefix, usePrefix, factPrefix, forgottenPrefix, markPrefix, editPrefix, asidePrefix} {
		for p, err := range scanPrefix(m.old, prefix) {
			if err != nil {
				return err
			}
			if err := m.set(p.key, p.value); err != nil {
				return err
			}
		}
	}
	if err := m.entries(); err != nil {
		return err
	}
	if err := m.bodies(); err != nil {
		return err
	}
	if err := m.set([]byte{versionPrefix}, encodeNumber(formatVersion)); err != nil {
		return err
	}
	return m.write(pebble.Sync)
}

// set adds to the batch, and writes it when it is large.
func (m *migration) set(key, value []byte) error {
	if err := m.batch.Set(key, value, nil); err != nil {
		return err
	}
	if m.batch.Len() < 4<<20 {
		return nil
	}
	return m.write(pebble.NoSync)
}

func (m *migration) write(o *pebble.WriteOptions) error {
	if err := m.store.write(m.batch, o); err != nil {
		return err
	}
	m.batch = m.store.db.NewBatch()
	return nil
}

// entries copies headers with their deliveries. What cannot be read is set
// aside as it is.
func (m *migration) entries() error {
	for p, err := range scanPrefix(m.old, headerPrefix) {
		if err != nil {
			return err
		}
		if err := m.set(p.key, p.value); err != nil {
			return err
		}
		header, err := decodeHeader(p.key, p.value)
		if err != nil {
			continue // found again when it is claimed
		}
		if err := m.deliveries(&header); err != nil {
			return err
		}
	}
	return nil
}

func (m *migration) deliveries(header *queue.Entry) error {
	for p, err := range scanPrefix(m.old, partKey(deliveryPrefix, header.ID, "")...) {
		if err != nil {
			return err
		}
		d, err := decode[queue.Delivery](p.key, p.value)
		encoded := p.value // which is found damaged
		if err == nil {
			if encoded, err = encodeDelivery(header.Body, header.Class, &d); err != nil {
				return err
			}
		}
		if err := m.set(p.key, encoded); err != nil {
			return err
		}
	}
	return nil
}

// bodies copies the contents to where they belong now.
func (m *migration) bodies() error {
	for p, err := range scanPrefix(m.old, placePrefix) {
		if err != nil {
			return err
		}
		id := mail.ID(p.key[1:])
		encoded := p.value // which is found damaged
		switch place, err := m.body(id, p.value); {
		case err == nil:
			encoded = place.encode()
		case !errors.Is(err, queue.ErrDamaged):
			return fmt.Errorf("body %s: %w", id, err)
		default:
			m.store.options.Logger.Error("queue: body is damaged", "body", id, "error", err)
		}
		if err := m.set(p.key, encoded); err != nil {
			return err
		}
	}
	return nil
}

// body copies one content.
func (m *migration) body(id mail.ID, value []byte) (place, error) {
	d := &draft{store: m.store}
	defer d.release()
	if err := m.chunks(id, value, d); err != nil {
		return place{}, err
	}
	e, err := m.envelope(id)
	if err != nil { // it is damaged, or another entry uses the body
		e = queue.Entry{ID: id, Body: id, Size: d.Size()}
	}
	st := staging{store: m.store, change: &change{batch: m.batch}}
	return st.keep(context.Background(), &e, d)
}

// envelope returns an entry as it is to stand beside its content.
func (m *migration) envelope(id mail.ID) (queue.Entry, error) {
	e, err := m.store.readHeader(m.old, id)
	if err != nil {
		return e, err
	}
	for p, err := range scanPrefix(m.old, partKey(deliveryPrefix, id, "")...) {
		if err != nil {
			return e, err
		}
		d, err := decode[queue.Delivery](p.key, p.value)
		if err != nil {
			return e, err
		}
		e.Deliveries = append(e.Deliveries, d)
	}
	return e, nil
}

// chunks writes the content of a body of format 1.
func (m *migration) chunks(id mail.ID, value []byte, to io.Writer) error {
	var where struct{ Size, Chunk int64 }
	if err := json.Unmarshal(value, &where); err != nil || where.Size < 0 || where.Chunk <= 0 {
		return damaged(key(placePrefix, id), "not a place of format 1")
	}
	for n := int64(0); n*where.Chunk < where.Size; n++ {
		k := binary.BigEndian.AppendUint32(partKey(contentPrefix, id, ""), uint32(n))
		chunk, err := m.store.read(m.old, k)
		if errors.Is(err, queue.ErrNotFound) {
			err = damaged(k, "missing")
		}
		if err != nil {
			return err
		}
		size := min(where.Chunk, where.Size-n*where.Chunk)
		if int64(len(chunk)) != checksumSize+size || binary.BigEndian.Uint32(chunk) != crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, chunk[checksumSize:]) {
			return damaged(k, "fails its checksum")
		}
		if _, err := to.Write(chunk[checksumSize:]); err != nil {
			return err
		}
	}
	return nil
}

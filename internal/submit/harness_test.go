package submit

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/smtp"
	"postern/internal/smtpserver"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// host is a host with a directory of submission, a store, and a user who calls.
type host struct {
	t         *testing.T
	directory Directory
	clock     *mail.ManualClock
	store     *queue.Memory
	door      *intake.Intake
	client    *Client
	facts     mailtest.Facts
	refusals  []Refusal
	fail      error // of Report
	room      error
	maxSize   int64
	most      int // recipients
}

func newHost(t *testing.T) *host {
	dir, err := os.MkdirTemp("", "submit-") // short: the path of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, directory: Directory(filepath.Join(dir, "spool")), clock: mail.NewManualClock(now), maxSize: 10 << 20, most: 100}
	if err := h.directory.Make(); err != nil {
		t.Fatal(err)
	}
	h.store = queue.NewMemory(queue.Options{Clock: h.clock})
	h.door = intake.New(intake.Options{
		Hostname: "gate.example", Store: h.store, IDs: new(mail.IDs), Clock: h.clock,
		Local: &intake.Local{
			Names: []string{"gate.example"}, Postmaster: mail.Address{Local: "admin", Domain: "example.net"},
			IsUser: func(name string) bool { return name == "root" },
		},
		Room: func(int64) error { return h.room },
	})
	h.client = &Client{Directory: h.directory, User: &mail.User{UID: uint32(os.Getuid()), Name: "joe"}}
	return h
}

// serve serves the socket until the test ends.
func (h *host) serve() {
	h.t.Helper()
	server := smtpserver.New(smtpserver.Options{
		Listener: Listener, Hostname: "gate.example", MaxSize: h.maxSize, MaxRecipients: h.most, User: Peer,
		Newlines: func(mail.Origin) smtp.Newlines { return smtp.NewlinesRepair }, Clock: h.clock, Record: h.facts.Record,
	}, smtpserver.HandlerFunc(func(_ context.Context, o mail.Origin) (smtpserver.Session, mail.Reply) {
		return h.door.Session(o), mail.Reply{}
	}))
	l, err := net.Listen("unix", h.directory.Socket())
	if err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(context.Background(), l) }()
	h.t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			h.t.Error(err)
		}
		<-ended
	})
}

func (h *host) pickup() *Pickup {
	return NewPickup(PickupOptions{
		Directory: h.directory, Hostname: "gate.example", Door: h.door, IDs: new(mail.IDs),
		MaxSize: h.maxSize, MaxRecipients: h.most, Clock: h.clock, Record: h.facts.Record,
		Report: func(_ context.Context, r *Refusal) error {
			if h.fail == nil {
				h.refusals = append(h.refusals, *r)
			}
			return h.fail
		},
	})
}

// collect lets the server collect what was left.
func (h *host) collect() {
	h.t.Helper()
	if err := h.pickup().Collect(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// post sends a message with a command line.
func (h *host) post(line, text string) error {
	h.t.Helper()
	c, err := ParseCommand(strings.Fields(line))
	if err != nil {
		return err
	}
	return h.client.Post(h.t.Context(), c, strings.NewReader(text))
}

func (h *host) entries() []queue.Entry {
	h.t.Helper()
	list, err := h.store.List(context.Background(), queue.Filter{}, queue.Page{})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// only returns the only message that was stored, its recipients, and its
// content behind the Received field.
func (h *host) only() (e queue.Entry, to, text string) {
	h.t.Helper()
	list := h.entries()
	if len(list) != 1 {
		h.t.Fatalf("%d messages are stored", len(list))
	}
	b, err := h.store.Body(context.Background(), list[0].Body)
	if err != nil {
		h.t.Fatal(err)
	}
	defer b.Close()
	all, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := part(strings.NewReader(string(all)))
	if err != nil {
		h.t.Fatal(err)
	}
	m.header.Delete("Received")
	rest, err := io.ReadAll(m.reader())
	if err != nil {
		h.t.Fatal(err)
	}
	return list[0], strings.Join(list[0].Addresses(), " "), string(rest)
}

// files lists what is in the two places for files.
func (h *host) files() []string {
	h.t.Helper()
	var list []string
	for _, dir := range []string{h.directory.drop(), h.directory.taken()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, filepath.Join(filepath.Base(dir), e.Name()))
		}
	}
	return list
}

// slipIn reads the slip and the content of a file.
func slipIn(file []byte) (*slip, *content, error) {
	br := bufio.NewReader(bytes.NewReader(file))
	s, err := readSlip(br, int64(len(file)))
	if err != nil {
		return nil, nil, err
	}
	return s, &content{ReaderAt: bytes.NewReader(file[int64(len(file))-s.Size:]), size: s.Size}, nil
}

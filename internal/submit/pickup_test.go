package submit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/message"
)

// dropFile puts a file into the drop directory, as any user can.
func (h *host) dropFile(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.directory.drop(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// left leaves a good message and returns its text.
func (h *host) left() string {
	h.t.Helper()
	if err := h.post("-f joe@x.example ann@x.example", "Subject: x\n\nbody\n"); err != nil {
		h.t.Fatal(err)
	}
	files := h.files()
	path := filepath.Join(string(h.directory), files[0])
	text, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// TestHostileFiles: whatever somebody puts there, the server neither waits,
// nor follows, nor takes it for mail; it goes away, and is told of.
func TestHostileFiles(t *testing.T) {
	const slipFor = `{"postern":1,"sender":"a@x","recipients":["b@x.example"],"size":0,"crc32c":0`
	replace := func(old, text string) func(*host, string) {
		return func(h *host, good string) {
			bad := strings.Replace(good, old, text, 1)
			if bad == good {
				t.Fatalf("%q is not in %q", old, good)
			}
			h.dropFile("m-1", bad)
		}
	}
	for name, put := range map[string]func(h *host, good string){
		"empty":                  func(h *host, _ string) { h.dropFile("m-1", "") },
		"garbage":                func(h *host, _ string) { h.dropFile("m-1", "\x00\xff{") },
		"no end":                 func(h *host, _ string) { h.dropFile("m-1", strings.Repeat("x", 1<<20)) },
		"a name of another form": func(h *host, _ string) { h.dropFile("..hidden\n\x1b", "x\n") },
		"symbolic link": func(h *host, good string) {
			target := filepath.Join(string(h.directory), "..", "target")
			if err := errors.Join(os.WriteFile(target, []byte(good), 0o644), os.Symlink(target, filepath.Join(h.directory.drop(), "m-1"))); err != nil {
				t.Fatal(err)
			}
			h.t.Cleanup(func() {
				if _, err := os.Stat(target); err != nil {
					h.t.Error("what the link led to was removed")
				}
			})
		},
		"hard link": func(h *host, good string) {
			target := filepath.Join(string(h.directory), "..", "target")
			if err := errors.Join(os.WriteFile(target, []byte(good), 0o600), os.Link(target, filepath.Join(h.directory.drop(), "m-1"))); err != nil {
				t.Fatal(err)
			}
		},
		"FIFO": func(h *host, _ string) {
			if err := syscall.Mkfifo(filepath.Join(h.directory.drop(), "m-1"), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"FIFO that is being written": func(h *host, _ string) {
			if err := syscall.Mkfifo(filepath.Join(h.directory.drop(), "w-1"), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"shut": func(h *host, good string) {
			if os.Getuid() == 0 { // to whom nothing is shut
				good = good[1:]
			}
			if err := os.Chmod(h.dropFile("m-1", good), 0); err != nil {
				t.Fatal(err)
			}
		},
		"sparse and huge": func(h *host, _ string) {
			if err := os.Truncate(h.dropFile("m-1", "{"), 1<<40); err != nil {
				t.Fatal(err)
			}
		},
		"cut off":              func(h *host, good string) { h.dropFile("m-1", good[:len(good)-1]) },
		"more than it says":    func(h *host, good string) { h.dropFile("m-1", good+"x") },
		"content changed":      replace("body", "b0dy"),
		"recipients are none":  replace(`["ann@x.example"]`, `[]`),
		"a recipient is empty": replace(`"ann@x.example"`, `""`),
		"an option":            replace(`"ann@x.example"`, `"-Xfile"`),
		"a line in it":         replace(`"ann@x.example"`, `"ann@x.example>\r\nRCPT TO:<eve@x.example"`),
		"a line in the sender": replace(`"joe@x.example"`, `"joe@x.example\nBcc: eve@x.example"`),
		"a line in the name":   replace(`"sender"`, `"full_name":"a\nBcc: eve@x.example","sender"`),
		"a line in the id":     replace(`"sender"`, `"envelope_id":"a\nb","sender"`),
		"newer":                replace(`"postern":1`, `"postern":2`),
		"unknown member":       replace(`"sender"`, `"uid":0,"sender"`),
		"NOTIFY":               replace(`"sender"`, `"notify":"NEVER,DELAY","sender"`),
		"RET":                  replace(`"sender"`, `"return":"ALL","sender"`),
		"negative size":        func(h *host, _ string) { h.dropFile("m-1", strings.Replace(slipFor, `"size":0`, `"size":-1`, 1)+"}\n") },
		"a header without end": func(h *host, _ string) {
			h.leaveWithout(t, strings.Repeat("A: "+strings.Repeat("x", 200<<10)+"\n", 10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			put(h, h.left())
			h.collect()
			if n := len(h.entries()); n > 0 {
				t.Errorf("%d messages are stored: %v", n, h.entries()[0])
			}
			if left := h.files(); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			facts := h.facts.All()
			if len(facts) != 1 || facts[0].Reason != mail.ReasonRefused || facts[0].Text == "" ||
				facts[0].Origin.User == nil || facts[0].Origin.User.UID != uint32(os.Getuid()) {
				t.Errorf("facts: %+v", facts)
			}
		})
	}
}

// leaveWithout leaves a message as the command does, without what the command
// looks at.
func (h *host) leaveWithout(t *testing.T, text string) {
	t.Helper()
	p := &posting{
		sender: &message.Mailbox{Local: "joe", Domain: "x"}, recipients: []message.Mailbox{{Local: "ann", Domain: "x"}},
		content: &content{ReaderAt: strings.NewReader(text), size: int64(len(text))},
	}
	if err := h.directory.leave(p, errNotNow); err != nil {
		t.Fatal(err)
	}
}

// TestDirectories: an empty one goes; a full one stays, with what is in it, and
// the log tells of it once.
func TestDirectories(t *testing.T) {
	h := newHost(t)
	text := h.left()
	if err := errors.Join(os.Mkdir(filepath.Join(h.directory.drop(), "m-empty"), 0o755), os.Mkdir(filepath.Join(h.directory.drop(), "m-full"), 0o755)); err != nil {
		t.Fatal(err)
	}
	h.dropFile("m-full/m-1", text)
	var log bytes.Buffer
	p := h.pickup()
	p.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for range 3 {
		if err := p.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left := h.files(); !slices.Equal(left, []string{"drop/m-full"}) || len(h.entries()) > 0 {
		t.Errorf("left: %q", left)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "count=1") {
		t.Errorf("logged: %s", &log)
	}
}

// TestTell: what lasts is logged once.
func TestTell(t *testing.T) {
	h := newHost(t)
	var log bytes.Buffer
	p := h.pickup()
	p.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for _, text := range []string{"", "full", "full", "fuller", "", "", "full"} {
		var err error
		if text != "" {
			err = errors.New(text)
		}
		p.tell(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 4 || strings.Count(log.String(), "no longer") != 1 {
		t.Errorf("logged: %s", &log)
	}
}

// TestOneBadFileStopsNoOther: not even one that the disk does not give.
func TestOneBadFileStopsNoOther(t *testing.T) {
	h := newHost(t)
	text := h.left()
	for _, name := range []string{"m-1", "m-2", "m-3"} {
		h.dropFile(name, text)
	}
	// What was begun, and turns out to be no file that can be opened.
	bad := filepath.Join(h.directory.taken(), strings.Repeat("x", 200))
	if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := h.pickup()
	p.open = func(path string) (*dropped, error) {
		if path == bad {
			return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EIO}
		}
		return openDropped(path)
	}
	if err := p.Collect(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	if n, left := len(h.entries()), h.files(); n != 3 || len(left) != 1 {
		t.Errorf("%d messages are stored; left: %q", n, left)
	}
	h.collect()
	if n, left := len(h.entries()), h.files(); n != 4 || len(left) > 0 {
		t.Errorf("%d messages are stored; left: %q", n, left)
	}
}

// TestWhatIsBeingWrittenStays: but not for ever.
func TestWhatIsBeingWrittenStays(t *testing.T) {
	h := newHost(t)
	path := h.dropFile("w-1", "half")
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	h.collect()
	if left := h.files(); len(left) != 1 {
		t.Fatalf("left: %q", left)
	}
	h.clock.Advance(staleAfter + time.Second)
	h.collect()
	if left := h.files(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestOnce: a crash between the commit and the removal of the file does not
// double the message; one before the commit does not lose it.
func TestOnce(t *testing.T) {
	h := newHost(t)
	text := h.left()
	for _, name := range []string{"committed", "moved"} {
		if err := os.WriteFile(filepath.Join(h.directory.taken(), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"committed", "gone", "gone" + reportSuffix} {
		_, err := h.door.Accept(t.Context(), intake.Message{
			Recipients: []mail.Recipient{{Address: mail.Address{Local: name, Domain: "x.example"}}},
			Content:    strings.NewReader("x\r\n"), Gone: func() bool { return false }, Once: name,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	before := len(h.entries())
	h.collect()
	h.collect()
	if n := len(h.entries()) - before; n != 1 {
		t.Errorf("%d of the two files became messages", n)
	}
	if left := h.files(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if noted, err := h.door.AllTaken(t.Context()); len(noted) > 0 || err != nil {
		t.Errorf("still noted: %q, %v", noted, err)
	}
}

// TestLaterIsTriedAgain: with what there is no room for, or what the store
// cannot take, nothing is lost.
func TestLaterIsTriedAgain(t *testing.T) {
	h := newHost(t)
	if err := h.post("-f joe@x.example ann@x.example", "x\n"); err != nil {
		t.Fatal(err)
	}
	h.room = mail.Refuse(452, "4.3.1", "full")
	if err := h.pickup().Collect(t.Context()); !errors.Is(err, h.room) {
		t.Errorf("%v", err)
	}
	h.room = nil
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.pickup().Collect(stopped); err == nil {
		t.Error("it was taken although the server stops")
	}
	if n := len(h.files()); n != 1 || len(h.entries()) > 0 {
		t.Fatalf("%d files are left", n)
	}
	h.collect()
	if _, to, _ := h.only(); to != "ann@x.example" || len(h.files()) > 0 {
		t.Errorf("to %s, left: %q", to, h.files())
	}
}

// TestChange: what is collected after it has the new host name, and goes through
// the new door.
func TestChange(t *testing.T) {
	h := newHost(t)
	if err := h.post("-f joe ann@x.example", "x\n"); err != nil {
		t.Fatal(err)
	}
	options := h.door.Options
	options.Hostname, options.AddMessageID, options.Company = "other.example", true, nil // the company had the old name
	p := h.pickup()
	p.Change(intake.New(options), "other.example", time.Hour)
	if err := p.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entry, to, text := h.only(); entry.Envelope.From.String() != "joe@other.example" || to != "ann@x.example" || !strings.Contains(text, "@other.example>") {
		t.Errorf("from %s to %s: %s", entry.Envelope.From, to, text)
	}
}

// TestRefusedLater: of what is refused when the program is gone its sender is
// told, once, and the others get the message.
func TestRefusedLater(t *testing.T) {
	for _, c := range []struct {
		name, line, in string
		accepted       string
		refused        []string
		code           string
	}{
		{"an unknown user", "-f joe@x.example ann@x.example nosuch", "x\n", "ann@x.example", []string{"nosuch@gate.example"}, "5.1.1"},
		{"all unknown", "-f joe@x.example one two", "x\n", "", []string{"one@gate.example", "two@gate.example"}, "5.1.1"},
		{"too large", "-f joe@x.example ann@x.example", strings.Repeat("0123456789\n", 10<<10), "", []string{"ann@x.example"}, "5.3.4"},
		{"too many", "-f joe@x.example " + strings.Repeat("a@x.example,", 101), "x\n", "", slices.Repeat([]string{"a@x.example"}, 101), "5.5.3"},
		{"too many hops", "-f joe@x.example ann@x.example", strings.Repeat("Received: x\n", 101) + "\n", "", []string{"ann@x.example"}, "5.4.6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.maxSize = 64 << 10
			if err := h.post(c.line, c.in); err != nil {
				t.Fatal(err)
			}
			h.fail = errors.New("the disk is full")
			if err := h.pickup().Collect(t.Context()); !errors.Is(err, h.fail) || len(h.files()) != 1 || len(h.entries()) > 0 {
				t.Errorf("without a report: %v, left: %q", err, h.files())
			}
			h.fail = nil
			h.collect()
			if len(h.refusals) != 1 || len(h.files()) > 0 {
				t.Fatalf("%d reports, left: %q", len(h.refusals), h.files())
			}
			var refused []string
			for i, r := range h.refusals[0].Recipients {
				refused = append(refused, r.Address.String())
				if got := h.refusals[0].Replies[i]; got.Enhanced != c.code {
					t.Errorf("%s: %s", r.Address, got)
				}
			}
			if !slices.Equal(refused, c.refused) || h.refusals[0].Envelope.From.Path() != "<joe@x.example>" {
				t.Errorf("refused: %q", refused)
			}
			if c.accepted == "" {
				if len(h.entries()) > 0 {
					t.Error("a message was accepted")
				}
				return
			}
			if _, to, _ := h.only(); to != c.accepted {
				t.Errorf("to %s", to)
			}
		})
	}
}

// TestMake: what others could have made, or could change, is not used.
func TestMake(t *testing.T) {
	for name, spoil := range map[string]func(d Directory) error{
		"a file":             func(d Directory) error { return os.WriteFile(string(d), nil, 0o644) },
		"a link":             func(d Directory) error { return os.Symlink(filepath.Dir(string(d)), string(d)) },
		"writable by others": func(d Directory) error { return errors.Join(os.Mkdir(string(d), 0o755), os.Chmod(string(d), 0o777)) },
		"shut to users":      func(d Directory) error { return os.Mkdir(string(d), 0o700) },
		"drop is a link": func(d Directory) error {
			return errors.Join(os.Mkdir(string(d), 0o755), os.Symlink("/tmp", d.drop()))
		},
		"taken is a file": func(d Directory) error {
			return errors.Join(os.Mkdir(string(d), 0o755), os.WriteFile(d.taken(), nil, 0o644))
		},
	} {
		d := Directory(filepath.Join(t.TempDir(), "spool"))
		if err := spoil(d); err != nil {
			t.Fatal(err)
		}
		if err := d.Make(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	d := Directory(filepath.Join(t.TempDir(), "spool"))
	for range 2 {
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]os.FileMode{string(d): 0o755, d.drop(): 0o733 | os.ModeSetgid | os.ModeSticky, d.taken(): 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode()&^os.ModeDir != want {
				t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
			}
		}
		if err := errors.Join(os.Chmod(d.drop(), 0o777), os.Chmod(d.taken(), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := (d + "/no/such").Make(); err != nil {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

// FuzzSlip: whatever a file says, it is refused, or says what SMTP could say.
func FuzzSlip(f *testing.F) {
	f.Add([]byte(`{"postern":1,"sender":"a@x","full_name":"A","recipients":["b@x.example"],"notify":"NEVER","return":"FULL","envelope_id":"i","size":2,"crc32c":0}` + "\nx\n"))
	f.Add([]byte(`{"postern":1,"sender":null,"recipients":["-x","a,b"],"size":0,"crc32c":0}` + "\n"))
	user := &mail.User{UID: 1, Name: "joe"}
	f.Fuzz(func(t *testing.T, file []byte) {
		s, content, err := slipIn(file)
		if err != nil {
			return
		}
		p, err := s.posting(user)
		if err != nil {
			return
		}
		p.content = content
		l, err := p.letter("gate.example", user)
		if err != nil {
			return
		}
		for _, r := range append(l.recipients, mail.Recipient{Address: l.envelope.From}) {
			if strings.ContainsAny(r.Address.Path(), "\r\n\x00") || strings.HasPrefix(r.Address.Local, "-") {
				t.Errorf("%q", r.Address.Path())
			}
		}
		if strings.ContainsAny(l.envelope.EnvelopeID, "\r\n\x00") {
			t.Errorf("%q", l.envelope.EnvelopeID)
		}
	})
}

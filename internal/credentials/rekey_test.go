package credentials

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"postern/internal/directory"
)

// killed is the variable that makes the process of a test seal everything anew, and end at a
// step: "DIRECTORY N".
const killed = "POSTERN_CREDENTIALS_REKEY"

func TestMain(m *testing.M) {
	if plan := os.Getenv(killed); plan != "" {
		if err := rekeyUntil(plan); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func rekeyUntil(plan string) error {
	dir, text, _ := strings.Cut(plan, " ")
	left, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	d, err := directory.Open(context.Background(), directory.Options{Dir: filepath.Join(dir, "directory")})
	if err != nil {
		return err
	}
	k := NewKeyring(filepath.Join(dir, "credentials.key"))
	k.reached = func(string) {
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if _, err := k.Rekey(context.Background(), d, "test"); err != nil {
		return err
	}
	return d.Close()
}

// TestRekeyKilled: a process that is killed at whatever step of it leaves everything readable,
// and what can be changed; the next run ends it.
func TestRekeyKilled(t *testing.T) {
	w := newWorld(t, nil)
	w.mustPut(passwordDraft("relay", host))
	for step := 1; ; step++ {
		if err := w.directory.Close(); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", killed, filepath.Dir(w.keyFile), step))
		out, err := c.CombinedOutput()
		w.reopen()
		fresh := New(Options{Settings: Settings{KeyFile: w.keyFile}, Directory: w.book.directory})
		if got, err := fresh.For(host).Credentials(t.Context()); err != nil || got.Password != secretPassword {
			t.Fatalf("step %d: %+v, %v", step, got, err)
		}
		fresh.Close()
		name := fmt.Sprintf("c%d", step)
		w.mustPut(passwordDraft(name))
		if got := w.shows(w.book.Named(name)); got.Password != secretPassword {
			t.Errorf("step %d, what was added then: %+v", step, got)
		}
		if err == nil {
			if step != 6 { // two files, each written and renamed, and the commit between
				t.Errorf("it has %d steps", step-1)
			}
			break
		}
		if !strings.Contains(err.Error(), "killed") {
			t.Fatalf("step %d: %v: %s", step, err, out)
		}
	}
	if keys, err := w.book.Keys().keys(); err != nil || len(keys) != 1 {
		t.Errorf("there are %d keys, %v", len(keys), err)
	}
}

func (w *world) reopen() {
	w.t.Helper()
	d, err := directory.Open(w.t.Context(), directory.Options{Dir: filepath.Join(filepath.Dir(w.keyFile), "directory")})
	if err != nil {
		w.t.Fatal(err)
	}
	w.directory = d
}

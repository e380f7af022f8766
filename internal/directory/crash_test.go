package directory

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// crashDir is the variable that makes the process of a test a writer that is to be killed.
const crashDir = "POSTERN_DIRECTORY_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := write(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// write makes changes until it is killed, and says on standard output before and after
// each commit. Change n creates user n with an alias, and removes those of change n - 3.
func write(dir string) error {
	d, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := d.Impose(Ban{Subject: fmt.Sprintf("account:b%d", n)}); err != nil {
			return err
		}
		if n%50 == 49 {
			if err := d.Flush(context.Background()); err != nil {
				return err
			}
			fmt.Println("flushed", n)
		}
		err := d.Change(context.Background(), "writer", func(tx *Tx) error {
			if err := crashChange(tx, n); err != nil {
				return err
			}
			fmt.Println("changed", n)
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println("committed", n)
		if n%10 == 9 {
			if err := d.ForgetFacts(context.Background(), 1); err != nil {
				return err
			}
		}
	}
}

func crashChange(tx *Tx, n int) error {
	login := fmt.Sprintf("u%d", n)
	if err := putAll(Domain{Name: "example.com"}, User{Login: login}, Alias{Address: login + "@example.com", Targets: []string{"x@y.example"}})(tx); err != nil || n < 3 {
		return err
	}
	old := fmt.Sprintf("u%d", n-3)
	if err := tx.DeleteAlias("", old+"@example.com"); err != nil {
		return err
	}
	return tx.DeleteUser(old)
}

// A process that is killed in the midst of changes leaves each of them whole: its records
// and its facts, or nothing of both; and all that it had said to be committed.
func TestKilled(t *testing.T) {
	for round := range mailtest.Number(t, "COUNT", 12) {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(round))
		changed, committed, flushed := killWriter(t, dir, 1+round*round*3)
		o := &opened{t: t, clock: mail.NewManualClock(start), dir: dir}
		o.open()
		last := o.wholeChanges()
		if last < committed || last > changed {
			t.Errorf("round %d: change %d is the last; %d was committed, %d begun", round, last, committed, changed)
		}
		for n := range flushed + 1 {
			if _, found := o.AccountBan(fmt.Sprintf("b%d", n)); !found {
				t.Errorf("round %d: ban %d of %d that were written is lost", round, n, flushed)
			}
		}
		if err := o.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		o.Close()
	}
}

// killWriter starts a writer, kills it when it has told so many lines, and returns the
// last changes of which it told something, -1 for none.
func killWriter(t *testing.T, dir string, lines int) (changed, committed, flushed int) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	last := map[string]int{"changed": -1, "committed": -1, "flushed": -1}
	scanner := bufio.NewScanner(out)
	for told := 0; scanner.Scan(); told++ {
		if told == lines {
			c.Process.Kill()
		}
		what, number, _ := strings.Cut(scanner.Text(), " ")
		if n, err := strconv.Atoi(number); err == nil {
			last[what] = n
		}
	}
	c.Wait()
	if c.ProcessState.Exited() {
		t.Fatalf("the writer has ended itself: %s", stderr.String())
	}
	return last["changed"], last["committed"], last["flushed"]
}

// wholeChanges wants records and facts to be those after a whole change of a writer, and
// returns its number, -1 for none.
func (o *opened) wholeChanges() int {
	o.t.Helper()
	last := -1
	facts, err := o.NextFacts(o.t.Context(), 0, 1_000_000)
	if err != nil {
		o.t.Fatal(err)
	}
	told := map[string]int{}
	for _, f := range facts {
		text, _, _ := strings.Cut(f.Text, ";")
		told[text]++
	}
	if err := o.Read(o.t.Context(), func(r *Reader) error {
		users, err := r.Users("", MaxPage)
		for _, u := range users {
			n, _ := strconv.Atoi(u.Login[1:])
			last = max(last, n)
		}
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	for n := range last + 5 {
		login := fmt.Sprintf("u%d", n)
		there := n <= last && n > last-3
		_, user := o.User(login)
		_, alias := o.Alias("", login+"@example.com")
		if user != there || alias != there {
			o.t.Errorf("after change %d: user %d is there: %v, its alias: %v", last, n, user, alias)
		}
		for _, f := range []struct {
			text string
			want bool
		}{
			{"user " + login + ": created", n <= last}, {"alias " + login + "@example.com: created", n <= last},
			{"user " + login + ": removed", n <= last-3}, {"alias " + login + "@example.com: removed", n <= last-3},
		} {
			if got := told[f.text]; got != bit01(f.want) {
				o.t.Errorf("after change %d: %q is told %d times", last, f.text, got)
			}
		}
	}
	return last
}

func bit01(b bool) int {
	if b {
		return 1
	}
	return 0
}

// When the power fails, what was not synced is lost, and the last of it torn. Wherever the
// log ends, what is left are whole changes, each as far as it was synced.
func TestPowerCut(t *testing.T) {
	o := newDirectory(t)
	const changes = 30
	sizes := make([]int64, changes) // of the log when a change was committed
	log := filepath.Join(o.dir, File+"-wal")
	for n := range changes {
		o.change(func(tx *Tx) error { return crashChange(tx, n) })
		info, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		sizes[n] = info.Size()
	}
	whole, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < changes; n++ {
		if sizes[n] < sizes[n-1] {
			t.Fatal("the log was begun anew: make fewer changes")
		}
	}
	step := max(len(whole)/mailtest.Number(t, "CUTS", 60), 1)
	for cut := int(sizes[0]); cut <= len(whole); cut += step {
		for _, torn := range []int{0, 100} {
			dir := o.copied(whole[:cut], torn)
			after := &opened{t: t, clock: o.clock, dir: dir}
			after.open()
			last, synced := after.wholeChanges(), -1
			for n, size := range sizes {
				if size <= int64(cut-torn) {
					synced = n
				}
			}
			if last != synced {
				t.Errorf("cut at %d of %d, %d torn: change %d is the last, %d was synced", cut, len(whole), torn, last, synced)
			}
			after.change(func(tx *Tx) error { return crashChange(tx, last+1) })
			after.reopen()
			after.wholeChanges()
			after.Close()
			os.RemoveAll(dir)
		}
	}
}

// copied makes a directory of the database, with a log whose last octets are torn.
func (o *opened) copied(log []byte, torn int) string {
	o.t.Helper()
	dir := o.t.TempDir()
	data, err := os.ReadFile(filepath.Join(o.dir, File))
	if err != nil {
		o.t.Fatal(err)
	}
	log = bytes.Clone(log)
	for i := len(log) - torn; i < len(log); i++ {
		log[i] ^= 0x5a
	}
	for name, content := range map[string][]byte{File: data, File + "-wal": log} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			o.t.Fatal(err)
		}
	}
	return dir
}

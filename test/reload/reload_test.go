// Package reload tests with the real binary that a reload cuts nothing off: it
// reads its configuration again and again under load, by signal and by command,
// with other listeners, certificates and routes each time, and as often one
// that is wrong. It is no library.
//
// No connection to the listener that stays may be refused or lost, no session
// that was greeted may end before its client says QUIT, and each message that
// was acknowledged must arrive, once.
package reload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// patience bounds every wait for one thing; perReload the whole test.
const (
	patience  = 2 * time.Minute
	perReload = 4 * time.Second
)

func TestReloadsUnderLoad(t *testing.T) {
	reloads := mailtest.Number(t, "RELOADS", 100)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+2*time.Duration(reloads)*perReload)
	defer cancel()
	r := newRig(ctx, t)
	stop := r.load(ctx)
	for i := range reloads {
		r.reload(ctx, i)
		r.fail(ctx, i)
	}
	stop()
	mailtest.Must(t, harness.UntilEmpty(ctx, r.postern))
	mailtest.Must(t, r.postern.Stop())
	r.check(reloads)
}

// rig is an instance with two next servers, and what was sent through it.
type rig struct {
	*ledger
	*rounds
	t       *testing.T
	dir     string
	postern *harness.Postern
	admin   *admin.Client
	sinks   [2]*harness.Sink
	// extra are two addresses for the listener that comes and goes; busy are
	// two that are taken.
	extra [2]string
	busy  [2]net.Listener
	// generation and certificate are those that must be in force.
	generation  uint64
	certificate tls.Certificate
}

// newRig starts one. Its files stay behind when the test fails.
func newRig(ctx context.Context, t *testing.T) *rig {
	t.Helper()
	dir := mailtest.KeptDir(t, "reload")
	r := &rig{ledger: newLedger(), rounds: newRounds(), t: t, dir: filepath.Join(dir, "instance"), generation: 1}
	for i := range r.sinks {
		r.sinks[i] = &harness.Sink{Take: r.take}
		mailtest.Must(t, r.sinks[i].Listen())
		t.Cleanup(func() { r.sinks[i].Close() })
		port, err := harness.FreePort()
		mailtest.Must(t, err)
		r.extra[i] = harness.Loopback(port)
		r.busy[i], err = net.Listen("tcp", "127.0.0.1:0")
		mailtest.Must(t, err)
		t.Cleanup(func() { r.busy[i].Close() })
	}
	binary, err := harness.BuildPostern(ctx, dir)
	mailtest.Must(t, err)
	r.postern, err = harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: r.dir, NextHop: r.sinks[0].Addr()})
	mailtest.Must(t, err)
	r.issue()
	r.write(r.settings(0))
	mailtest.Must(t, r.postern.Start(ctx))
	t.Cleanup(r.postern.Kill)
	r.admin = admin.NewClient(filepath.Join(r.postern.Data(), "admin.sock"))
	return r
}

// take is what the next servers do with a message. One for hold@ is answered
// when the next reload is over, so that attempts are under way in each.
func (r *rig) take(a *harness.Arrival) string {
	if strings.HasPrefix(a.To[0], "hold@") {
		<-r.next()
	}
	r.arrive(harness.IDOf(a.Content))
	return ""
}

func (r *rig) write(text string) {
	r.t.Helper()
	mailtest.Must(r.t, os.WriteFile(filepath.Join(r.dir, "postern.toml"), []byte(text), 0o600))
}

// reload puts the next configuration in force, and looks at all that it must
// bring.
func (r *rig) reload(ctx context.Context, i int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.issue()
	r.write(r.settings(i + 1))
	r.generation++
	if i%2 == 0 {
		if out, err := r.command(ctx, "reload").CombinedOutput(); err != nil || !strings.Contains(string(out), "is in force") {
			r.t.Fatalf("reload %d: %v: %s", i, err, out)
		}
	} else {
		mailtest.Must(r.t, syscall.Kill(r.postern.PID(), syscall.SIGHUP))
	}
	mailtest.Must(r.t, harness.Until(ctx, fmt.Sprintf("generation %d is in force", r.generation), func() (bool, error) {
		s, err := r.admin.Status(ctx)
		return s.Generation == r.generation && s.ReloadFailure == nil, err
	}))
	r.wantCertificate(ctx)
	open, closed := r.extraAt(i + 1)
	if open != "" {
		c, err := dial(ctx, open)
		mailtest.Must(r.t, err)
		mailtest.Must(r.t, c.quit())
	}
	for _, address := range closed {
		if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			r.t.Errorf("reload %d: at %s, where nobody shall listen: %v", i, address, err)
		}
	}
	r.advance()
}

// fail offers a configuration that is wrong: all of it must be told, and
// nothing may change.
func (r *rig) fail(ctx context.Context, i int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b := brokenKinds[i%len(brokenKinds)]
	before, err := r.admin.Status(ctx)
	mailtest.Must(r.t, err)
	r.write(b.spoil(r, r.settings(i+2)))
	told := ""
	if i/len(brokenKinds)%2 == 0 {
		out, err := r.command(ctx, "reload").CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			r.t.Errorf("%s: the command ended with %v: %s", b.name, err, out)
		}
		told = string(out)
	} else {
		mailtest.Must(r.t, syscall.Kill(r.postern.PID(), syscall.SIGHUP))
	}
	var after admin.Status
	mailtest.Must(r.t, harness.Until(ctx, "the failure is told: "+b.name, func() (bool, error) {
		after, err = r.admin.Status(ctx)
		return after.ReloadFailure != nil && after.ReloadFailure.At.After(before.Loaded), err
	}))
	if told == "" {
		told = strings.Join(after.ReloadFailure.Problems, "\n")
	}
	if !regexp.MustCompile(b.want).MatchString(told) {
		r.t.Errorf("%s: told %q, want %q", b.name, told, b.want)
	}
	if after.Generation != r.generation {
		r.t.Errorf("%s: generation %d is in force, want %d", b.name, after.Generation, r.generation)
	}
	r.wantCertificate(ctx)
	r.advance()
}

// command is a command of the program that asks the server at its socket, so
// that the configuration need not be one.
func (r *rig) command(ctx context.Context, args ...string) *exec.Cmd {
	return r.postern.Command(ctx, append(args, "--socket", filepath.Join(r.postern.Data(), "admin.sock"))...)
}

// wantCertificate wants a new client to see the certificate that is in force.
func (r *rig) wantCertificate(ctx context.Context) {
	r.t.Helper()
	c, err := dial(ctx, r.postern.Addr())
	mailtest.Must(r.t, err)
	mailtest.Must(r.t, c.startTLS(r.trusted()))
	got := c.certificate()
	if !got.Equal(r.certificate.Leaf) {
		r.t.Errorf("in generation %d the certificate has serial %v, want %v", r.generation, got.SerialNumber, r.certificate.Leaf.SerialNumber)
	}
	mailtest.Must(r.t, c.quit())
}

// check compares what was acknowledged with what arrived, and the journal with
// what was done.
func (r *rig) check(reloads int) {
	r.t.Helper()
	acknowledged := r.compare(r.t)
	reasons := make(map[mail.Reason]int)
	mailtest.Must(r.t, journal.Read(context.Background(), r.postern.Journal(), journal.Query{}, func(f mail.Fact) error {
		reasons[f.Reason]++
		if f.Reason == mail.ReasonRefused {
			r.t.Errorf("refused: %s %v", f.Command, f.Reply)
		}
		return nil
	}))
	if reasons[mail.ReasonReloaded] != reloads || reasons[mail.ReasonReloadFailed] != reloads {
		r.t.Errorf("the journal has %d reloads and %d that failed, want %d of each", reasons[mail.ReasonReloaded], reasons[mail.ReasonReloadFailed], reloads)
	}
	if reasons[mail.ReasonAccepted] != acknowledged {
		r.t.Errorf("the journal has %d accepted, and %d were acknowledged", reasons[mail.ReasonAccepted], acknowledged)
	}
	r.t.Logf("%d reloads, %d that failed, %d messages", reloads, reloads, acknowledged)
}

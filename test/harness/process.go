package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end when it was told to.
const stopTimeout = 30 * time.Second

// process is a server that was started, with its output in a file.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when it has ended and cmd.ProcessState is set
}

// startProcess starts a command in a process group of its own, with some
// variables added to the environment. It ends with the test process, whatever
// becomes of that.
func startProcess(log string, environment []string, argv ...string) (*process, error) {
	return startProcessAs(nil, log, environment, argv...)
}

// startProcessAs does so as another user: a process that only turns into one
// later would no more end with the test process.
func startProcessAs(user *syscall.Credential, log string, environment []string, argv ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), log: log, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: user}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState says the same
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// untilGreets waits until the process greets at addr. It fails early when the
// process ends.
func (p *process) untilGreets(ctx context.Context, addr string) error {
	return Until(ctx, "a server greets at "+addr, func() (bool, error) {
		if p.state() != nil {
			return false, p.ended()
		}
		return greets(ctx, addr), nil
	})
}

// state is how the process ended; nil while it runs.
func (p *process) state() *os.ProcessState {
	select {
	case <-p.exited:
		return p.cmd.ProcessState
	default:
		return nil
	}
}

// ended is the error for a process that has ended by itself.
func (p *process) ended() error {
	return fmt.Errorf("the process has ended by itself: %v; its output is in %s", p.cmd.ProcessState, p.log)
}

// terminate sends SIGTERM and waits. A process that does not end in time is
// killed, which is a failure.
func (p *process) terminate() error { return p.terminateAs(p.pid()) }

// terminateGroup does so to all of the process's group, and kills what is left
// of that when the process has ended.
func (p *process) terminateGroup() error {
	err := p.terminateAs(-p.pid())
	// Nobody else is given the number of a group that has members.
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	return err
}

// terminateAs sends SIGTERM to an id as kill(2) takes it, and waits for the
// process.
func (p *process) terminateAs(id int) error {
	if p.state() != nil {
		return p.ended()
	}
	if err := syscall.Kill(id, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("the process did not end within %v; its output is in %s", stopTimeout, p.log)
	}
}

// kill ends the process and its group with SIGKILL, and waits.
func (p *process) kill() {
	if p.state() == nil { // else the group's id, which is the process's, may be another's by now
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	}
	<-p.exited
}

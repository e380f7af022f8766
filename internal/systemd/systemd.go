// Package systemd speaks with the service manager of that name, if it has started
// the process: it says how the service is (sd_notify(3)), takes the sockets that
// were bound for it (systemd.socket(5)), and tells whether the journal reads what
// it prints.
//
// Without systemd nothing happens, and there are no sockets. What cannot be said
// is an error for the log; nothing depends on it but systemd's opinion.
package systemd

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify says something of the service. Who is not listened to is content.
func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("cannot tell systemd: %w", err)
	}
	return nil
}

// Ready says that the service has started, or is done reloading.
func Ready(status string) error { return notify(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// Reloading says that the service reads its configuration anew. Ready must
// follow.
func Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the service ends.
func Stopping() error { return notify(daemon.SdNotifyStopping) }

// Alive says that the service makes progress. It must be said again within
// Watchdog.
func Alive() error { return notify(daemon.SdNotifyWatchdog) }

// Watchdog returns after what time without Alive the service is ended by
// systemd, and started again; 0 for never.
func Watchdog() (time.Duration, error) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("cannot tell how long systemd waits: %w", err)
	}
	return limit, nil
}

// Sockets returns the listening sockets that the process was started with, by
// their names (FileDescriptorName=). Whoever calls it has them: a second call
// returns none. It fails when a name stands for several, or for none at which
// a connection can be taken; all are closed then.
func Sockets() (map[string]net.Listener, error) {
	sockets := make(map[string]net.Listener)
	var failure error
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f) // a copy
		f.Close()
		switch {
		case err != nil:
			failure = fmt.Errorf("the socket %q from systemd takes no connections (use ListenStream=, and Accept=no): %w", f.Name(), err)
		case sockets[f.Name()] != nil:
			failure = fmt.Errorf("systemd passed several sockets named %q: give each a FileDescriptorName= of its own, that of its listener", f.Name())
			l.Close()
		default:
			sockets[f.Name()] = l
		}
	}
	if failure == nil {
		return sockets, nil
	}
	for _, l := range sockets {
		l.Close()
	}
	return nil, failure
}

// ReadsJournal reports whether what is written to a file goes to the journal
// (JOURNAL_STREAM in systemd.exec(5)).
func ReadsJournal(f *os.File) bool {
	var stat syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &stat) != nil {
		return false
	}
	return os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

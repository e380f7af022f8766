// Package trial runs Postern for somebody who has never seen it: on loopback,
// without configuration, root or packages, in front of a receiver that takes
// everything and fails on request.
//
// It is the real server with a configuration made up here; only the retry
// schedule is short, so that a deferral is seen to end.
package trial

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/daemon"
	"postern/internal/mail"
	"postern/internal/sink"
)

// Domain is the domain of the sample addresses. It is reserved for such use
// (RFC 2606 2).
const Domain = "sink.example"

// hostname is the name under which the server goes.
const hostname = "postern.example"

// Options say where the trial runs. The zero value picks free ports.
type Options struct {
	// Listen and Sink are the addresses of the server and of the receiver.
	Listen, Sink string
	// Dir is the directory for data; "" makes a temporary one, removed
	// at the end.
	Dir     string
	Version string
	Logger  *slog.Logger
	// Ready is told, once, where everything is.
	Ready func(Places)
}

// Places is where everything is.
type Places struct {
	SMTP   string // address of the server
	Socket string // its administrative socket
	Dir    string // its data
	Inbox  string // directory with what has arrived, one file a message
}

// Run runs the server and the receiver until ctx ends.
func Run(ctx context.Context, o Options) error {
	dir, remove, err := directory(o.Dir)
	if err != nil {
		return err
	}
	defer remove()
	receiver, err := net.Listen("tcp", cmp.Or(o.Sink, "127.0.0.1:0"))
	if err != nil {
		return fmt.Errorf("the receiver cannot listen: %w", err)
	}
	inbox := filepath.Join(dir, "inbox")
	stop := serveSink(receiver, sink.Options{Dir: inbox, Logger: o.Logger.With("server", "receiver")})
	defer stop()

	c, err := configuration(dir, cmp.Or(o.Listen, "127.0.0.1:0"), receiver.Addr().String())
	if err != nil {
		return err
	}
	d, err := daemon.New(c, daemon.Options{Version: o.Version, Logger: o.Logger, Ready: func(s admin.Status) {
		o.Ready(Places{SMTP: s.Listeners[0].Address, Socket: c.Socket(), Dir: dir, Inbox: inbox})
	}})
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// directory returns the directory to use, and how to remove it if it is ours.
// It is absolute: whoever reads Places may be elsewhere.
func directory(dir string) (string, func(), error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "postern-")
		return dir, func() { os.RemoveAll(dir) }, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}

// configuration is what a person would write for this, with a certificate
// that lasts as long as the trial.
func configuration(dir, listen, receiver string) (*config.Config, error) {
	smarthost, err := mail.ParseHostPort(receiver, 25)
	if err != nil {
		return nil, err
	}
	certificate, key, err := throwAway(dir)
	if err != nil {
		return nil, err
	}
	c := config.Default()
	c.Hostname = hostname
	c.DataDir = dir
	c.Postmaster = mail.Address{Local: "postmaster", Domain: Domain}
	c.Listeners = []config.Listener{config.DefaultListener()}
	if c.Listeners[0].Address, err = netip.ParseAddrPort(listen); err != nil {
		return nil, fmt.Errorf("%q is no address to listen at, such as 127.0.0.1:2525", listen)
	}
	c.Listeners[0].TLSCertificate, c.Listeners[0].TLSKey = certificate, key
	c.Delivery.Smarthosts = []mail.HostPort{smarthost}
	c.Delivery.SmarthostTLS = config.TLSNone // the receiver has none, and so REQUIRETLS cannot be kept
	c.Delivery.Retry = mail.Schedule{Waits: []time.Duration{time.Second, 2 * time.Second}, Every: 5 * time.Second, Until: time.Minute}
	c.Delivery.RetryReports = c.Delivery.Retry
	// A temporary directory is often small, and the trial needs little.
	c.Pressure.MinFreeSpace, c.Pressure.MinFreeInodes = config.MinFreeSpace, 0
	return c, nil
}

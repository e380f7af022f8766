package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/smtpserver"
)

// inForce returns the graph that is in force.
func (d *Daemon) inForce() *graph {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.graph
}

// listener is one SMTP listener that takes clients, or that took some which
// are still there. Its socket outlives the graph as long as its address is
// configured.
type listener struct {
	name    string
	address netip.AddrPort // as configured
	socket  net.Listener
	server  *smtpserver.Server
}

// lineup is the listeners of a graph: those that stay and those that are new,
// in the order of the configuration, without those that are stopped; fresh
// are the new ones alone, and released those that nobody wants any more.
type lineup struct {
	listeners       []placed
	fresh, released []*listener
}

// placed is a listener with its place in the configuration.
type placed struct {
	*listener
	i int
}

// lineUp binds a socket for every listener of a graph that has none yet, so
// that nothing is released before all is there. When one cannot be had, none
// of them is, and the error tells of each. mu is held.
func (d *Daemon) lineUp(g *graph) (lineup, error) {
	line := lineup{released: slices.Clone(d.listeners)}
	for i := range g.config.Listeners {
		c := &g.config.Listeners[i]
		if !d.halted[c.Name] {
			line.listeners = append(line.listeners, placed{line.keep(c), i})
		}
	}
	var errs []error
	for n := range line.listeners { // by now it is known which are released
		p := &line.listeners[n]
		if p.listener != nil {
			continue
		}
		c := &g.config.Listeners[p.i]
		socket, err := d.listen(c, line.released)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.listener = &listener{address: c.Address, socket: socket}
		line.fresh = append(line.fresh, p.listener)
	}
	if len(errs) > 0 {
		for _, l := range line.fresh {
			l.socket.Close()
		}
		return lineup{}, errors.Join(errs...)
	}
	return line, nil
}

// keep returns the listener that has the address, which is not released then;
// nil when there is none.
func (line *lineup) keep(c *config.Listener) *listener {
	at := slices.IndexFunc(line.released, func(l *listener) bool { return l.address == c.Address && l.name == c.Name })
	if at < 0 {
		at = slices.IndexFunc(line.released, func(l *listener) bool { return l.address == c.Address })
	}
	if at < 0 {
		return nil
	}
	l := line.released[at]
	line.released = slices.Delete(line.released, at, at+1)
	return l
}

// field puts the listeners of a graph into service. Clients of those that stay
// keep what they have for a while; so do clients of those that are released.
// mu is held.
func (d *Daemon) field(g *graph, line lineup) {
	services := d.services(g)
	d.changeSubmission(g)
	d.listeners = nil
	for _, l := range line.listeners {
		l.name = g.config.Listeners[l.i].Name
		if s := services[l.i]; l.server == nil {
			l.server = smtpserver.New(s.options, s.handler)
		} else {
			l.server.Change(s.options, s.handler)
		}
		d.listeners = append(d.listeners, l.listener)
	}
	maps.DeleteFunc(d.halted, func(name string, _ bool) bool { return g.listener(name) < 0 })
	for _, l := range line.released {
		d.Logger.Info("no longer listening", "listener", l.name, "address", l.socket.Addr().String(), "connections", l.server.Connections())
		d.leaving = append(d.leaving, l)
		l.release()
	}
}

// release closes the listener. Its server may not know the socket yet.
func (l *listener) release() {
	l.server.Release()
	l.socket.Close() // fails when the server has done so
}

// serve lets a listener take clients, until it is released or stopped.
func (d *Daemon) serve(l *listener) {
	d.Logger.Info("listening", "listener", l.name, "address", l.socket.Addr().String())
	name := "listener " + l.name
	d.running.Go(func() {
		d.part(name, l.server.Serve(context.Background(), l.socket)) // Shutdown alone ends the sessions
		d.mu.Lock()
		defer d.mu.Unlock()
		d.leaving = slices.DeleteFunc(d.leaving, func(gone *listener) bool { return gone == l })
	})
}

// The refusals of StopListener and StartListener.
var (
	errNoListener = errors.New("there is no such listener; `postern listener list` shows them")
	errEnding     = errors.New("the server is stopping")
)

// StopListener closes a listener. Its sessions end, as they do at a stop of the
// server: at once when they are idle, else after their message; but none is
// cut off. It stays closed, over reloads too, until StartListener or the end
// of the process. It does nothing to one that is stopped already.
func (d *Daemon) StopListener(name, actor string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stopping:
		return errEnding
	case d.graph.listener(name) < 0:
		return fmt.Errorf("%s: %w", name, errNoListener)
	case d.halted[name]:
		return nil
	}
	d.halted[name] = true
	at := slices.IndexFunc(d.listeners, func(l *listener) bool { return l.name == name })
	l := d.listeners[at]
	d.listeners = slices.Delete(slices.Clone(d.listeners), at, at+1)
	d.leaving = append(d.leaving, l)
	l.release() // before this returns, so that no client comes in after it
	d.running.Go(func() {
		_ = l.server.Shutdown(context.Background()) // that context does not end
	})
	d.tellOfListener(mail.ReasonClosed, l, actor)
	return nil
}

// StartListener opens a listener that was stopped, with the settings that are
// in force. It fails when its address cannot be had; then it stays stopped. It
// does nothing to one that is open.
func (d *Daemon) StartListener(name, actor string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.graph.listener(name)
	switch {
	case d.stopping:
		return errEnding
	case i < 0:
		return fmt.Errorf("%s: %w", name, errNoListener)
	case !d.halted[name]:
		return nil
	}
	c := &d.graph.config.Listeners[i]
	socket, err := d.listen(c, nil)
	if err != nil {
		return err
	}
	delete(d.halted, name)
	s := d.services(d.graph)[i]
	l := &listener{name: name, address: c.Address, socket: socket, server: smtpserver.New(s.options, s.handler)}
	d.listeners = append(slices.Clone(d.listeners), l)
	d.serve(l)
	d.tellOfListener(mail.ReasonOpened, l, actor)
	return nil
}

func (d *Daemon) tellOfListener(r mail.Reason, l *listener, actor string) {
	text := fmt.Sprintf("listener %s at %s", l.name, l.socket.Addr())
	d.Logger.Info("by hand: "+text, "reason", string(r), "actor", actor)
	d.journal.Record(mail.Fact{Reason: r, Time: d.clock.Now(), Actor: actor, Text: text})
}

// listenerStates are the listeners of the configuration in its order, and then
// those that are closed and still have clients. mu is held.
func (d *Daemon) listenerStates() []admin.Listener {
	var list []admin.Listener
	for i := range d.graph.config.Listeners {
		c := &d.graph.config.Listeners[i]
		at := slices.IndexFunc(d.listeners, func(l *listener) bool { return l.name == c.Name })
		s := d.stoppedState(c)
		if at >= 0 {
			s = d.listeners[at].state(admin.ListenerOpen)
		}
		o := d.doorOf(d.serverOptions(d.graph, c), d.graph, i)
		describeDoor(&s, c, &o)
		list = append(list, s)
	}
	for _, l := range d.leaving {
		if s := l.state(admin.ListenerClosing); s.Connections > 0 && !d.halted[l.name] {
			list = append(list, s)
		}
	}
	return list
}

// stoppedState is a listener that was stopped, with the connections that it
// still has. mu is held.
func (d *Daemon) stoppedState(c *config.Listener) admin.Listener {
	s := admin.Listener{Name: c.Name, Address: c.Address.String(), State: admin.ListenerStopped, MaxConnections: c.MaxConnections}
	for _, l := range d.leaving {
		if l.name == c.Name {
			s.Connections += l.server.Connections()
		}
	}
	return s
}

func (l *listener) state(s admin.ListenerState) admin.Listener {
	return admin.Listener{
		Name: l.name, Address: l.socket.Addr().String(), State: s, Connections: l.server.Connections(),
		Limit: l.server.Limit(), MaxConnections: l.server.Options().MaxConnections,
	}
}

// stopListeners lets sessions end; those in mid-message have the grace time.
func (d *Daemon) stopListeners() {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	d.mu.Lock()
	d.stopping = true
	all := slices.Concat(d.listeners, d.leaving, d.submissionListeners())
	d.mu.Unlock()
	var stopping sync.WaitGroup
	for _, l := range all {
		stopping.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				d.Logger.Warn("sessions were cut off", "listener", l.name, "error", err)
			}
		})
	}
	stopping.Wait()
}

func (d *Daemon) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, l := range slices.Concat(d.listeners, d.leaving, d.submissionListeners()) {
		n += l.server.Connections()
	}
	return n
}

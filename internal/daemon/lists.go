package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/blocklist"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/lists"
	"postern/internal/mail"
)

// lookEvery is how often the files of lists are looked at, and the gateways.
const lookEvery = 3 * time.Second

// loadLists reads the lists, and makes the block lists ready to be asked.
func (g *graph) loadLists() error {
	g.blockResolver = g.newResolver(dns.Options{})
	g.blockLists = blocklist.New(g.config.BlockLists, blocklist.Options{
		Resolver: g.blockResolver, Tell: g.told.blockList, Metrics: g.told.blockLists, Clock: g.clock, Logger: g.told.logger,
	})
	var err error
	g.lists, err = lists.Open(g.config.Lists, lists.Options{Tell: g.told.list, Check: g.checkList, Records: g.recordedList, Metrics: g.told.lists, Clock: g.clock})
	return err
}

// checkList refuses a list that a listener trusts, and that has a large part of the
// Internet on it.
func (g *graph) checkList(name string, l *lists.List) error {
	if !g.isTrusted(name) {
		return nil
	}
	var errs []error
	for p, at := range l.Networks() {
		if found, refused, _ := config.JudgeTrust(p); refused && len(errs) < maxTold {
			found.Place = at
			errs = append(errs, found)
		}
	}
	return errors.Join(errs...)
}

// isTrusted reports whether a listener that others than this host reach trusts the
// networks of a list.
func (g *graph) isTrusted(list string) bool {
	return slices.ContainsFunc(g.config.Listeners, func(l config.Listener) bool {
		return !l.Address.Addr().IsLoopback() && slices.ContainsFunc(l.TrustLists, func(t config.Text) bool { return t.Text == list })
	})
}

// adviseLists warns of networks on lists that are more than a company has of its own.
func (g *graph) adviseLists() []config.Problem {
	var found []config.Problem
	for i := range g.config.Lists {
		name := g.config.Lists[i].Name
		l := g.lists.List(name).List()
		if l == nil || !g.isTrusted(name) {
			continue
		}
		for p, at := range l.Networks() {
			if advice, _, wrong := config.JudgeTrust(p); wrong && len(found) < maxTold {
				advice.Place = at
				found = append(found, advice)
			}
		}
	}
	return found
}

// watchFiles looks at the files of lists and certificates, and at where the server runs, until ctx
// ends.
func (d *Daemon) watchFiles(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		g := d.inForce()
		g.lists.Look()
		g.maps.Look()
		d.deliverer.RoutesLooked()
		d.lookAtHosts(g)
		d.lookAtCertificates(g)
		around := lookAround(g.local.Addresses)
		d.around.Store(&around)
	}
}

// tellList tells what became of the file of a list, wherever an operator may look.
func (d *Daemon) tellList(e lists.Event) {
	if e.File == "" {
		e.File = "in the directory"
	}
	fact := mail.Fact{Reason: mail.ReasonListRead, Time: d.clock.Now()}
	if e.Err == nil {
		d.Logger.Info("list read again", "list", e.Name, "file", e.File, "entries", e.Entries, "before", e.Before)
		fact.Text = fmt.Sprintf("%s (%s): %d entries, were %d", e.Name, e.File, e.Entries, e.Before)
		d.journal.Record(fact)
		return
	}
	problems := strings.Split(e.Err.Error(), "\n")
	if more := len(problems) - maxTold; more > 0 {
		problems = append(problems[:maxTold:maxTold], fmt.Sprintf("and %d more", more))
	}
	for _, p := range problems {
		d.Logger.Warn("list is wrong, and stays as it was: "+p, "list", e.Name, "file", e.File, "entries", e.Before)
	}
	fact.Reason = mail.ReasonListFailed
	fact.Text = fmt.Sprintf("%s (%s), with its %d entries of before: %s", e.Name, e.File, e.Before, strings.Join(problems, "; "))
	d.journal.Record(fact)
}

// tellBlockList tells that a block list is left out, or answers again.
func (d *Daemon) tellBlockList(e blocklist.Event) {
	fact := mail.Fact{Reason: mail.ReasonAskedAgain, Time: d.clock.Now(), Text: e.Name}
	if !e.LeftOut {
		d.Logger.Info("block list answers again", "list", e.Name)
		d.journal.Record(fact)
		return
	}
	d.Logger.Warn("block list is left out for a while, and nobody is listed by it", "list", e.Name, "until", e.Until, "error", e.Err)
	fact.Reason, fact.Next, fact.Text = mail.ReasonLeftOut, e.Until, fmt.Sprintf("%s: %v", e.Name, e.Err)
	d.journal.Record(fact)
}

// listWarnings says which lists are not as they should be.
func (d *Daemon) listWarnings(g *graph) []string {
	var warnings []string
	stale := func(what string, l lists.Stale) {
		first, _, _ := strings.Cut(l.Err.Error(), "\n")
		warnings = append(warnings, fmt.Sprintf("%s is as it was before %s: %s", what, l.Since.Local().Format(time.RFC3339), first))
	}
	for _, l := range g.lists.Stale() {
		stale("list "+l.Name, l)
	}
	for _, l := range g.maps.Stale() {
		stale(mapName(l.Name), l)
	}
	for _, l := range g.blockLists.Out() {
		warnings = append(warnings, fmt.Sprintf("block list %s is left out until %s: %v", l.Name, l.Until.Local().Format(time.RFC3339), l.Err))
	}
	return warnings
}

package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/deliver"
	"postern/internal/filter"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Sites are the sites, as an operator has them: a deliver.Deliverer.
type Sites interface {
	// Sites returns all sites, those that are down first.
	Sites() (deliver.SiteCounts, []deliver.Site)
	// Destinations returns those that are known to lead to a site, in order.
	Destinations(site string) []mail.Destination
	// SiteOf returns the site to which a destination is known to lead, or "".
	SiteOf(d mail.Destination) string
	// FindSite returns the name of the site that a person means. Errors:
	// deliver.ErrNoSite, with what to do.
	FindSite(ctx context.Context, text string) (name string, err error)
	// ForRoom returns how many deliveries wait for a place at each address of target servers.
	ForRoom() map[netip.AddrPort]int
	// TryNow has sites that are down tried again with the next mail that is due:
	// those of these names, or all.
	TryNow(names ...string)
}

// Site is a site at a moment.
type Site struct {
	deliver.Site
	Suspension *Suspension `json:"suspension,omitempty" doc:"Set while an operator has suspended it"`
}

// SiteList are sites, and what holds for all of them.
type SiteList struct {
	deliver.SiteCounts
	Sites []Site `json:"sites" doc:"Those that are down first, then those for which most waits"`
}

// SiteDetail is one site, and what leads there.
type SiteDetail struct {
	Site
	// Leads are the destinations, the first MaxLeads of them.
	Leads []mail.Destination `json:"leads" doc:"The destinations that lead here, at most 100"`
}

// MaxLeads is how many destinations of a site are shown.
const MaxLeads = 100

// SiteSummary is how all sites stand, and the one that is worst off.
type SiteSummary struct {
	deliver.SiteCounts
	Worst *Site `json:"worst,omitempty" doc:"Of the sites that are down the one for which most waits"`
}

func (s *Server) siteOperations() {
	answer(s, huma.Operation{OperationID: "sites", Method: http.MethodGet, Path: "/v1/sites",
		Summary: "How the sites stand: the lists of hosts to which destinations lead"}, s.sites)
	answer(s, huma.Operation{OperationID: "site", Method: http.MethodGet, Path: "/v1/sites/{name}",
		Summary: "One site, by its name, the beginning of that, or a destination that leads there"}, s.site)
	stream(s, huma.Operation{OperationID: "retry-site", Method: http.MethodPost, Path: "/v1/sites/{name}/retry",
		Summary: "Try all mail for a site now, and the site itself if it is down"}, s.retrySite)
}

type sitesInput struct {
	Down  bool `query:"down" doc:"Only those that are down"`
	Limit int  `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many sites"`
}

func (s *Server) sites(ctx context.Context, in *sitesInput) (SiteList, error) {
	counts, all := s.Sites.Sites()
	if in.Down {
		all = all[:counts.Down] // they are the first
	}
	list := SiteList{SiteCounts: counts, Sites: []Site{}}
	suspensions, err := s.suspendedSites(ctx)
	for _, site := range all[:min(len(all), in.Limit)] {
		list.Sites = append(list.Sites, Site{site, suspensions[site.Name]})
	}
	return list, err
}

// suspendedSites are the suspensions of sites, by their names.
func (s *Server) suspendedSites(ctx context.Context) (map[string]*Suspension, error) {
	all, err := s.suspensions(ctx, nil)
	byName := make(map[string]*Suspension)
	for i := range all {
		if all[i].What == OneSite {
			byName[all[i].Name] = &all[i]
		}
	}
	return byName, err
}

// suspendedSite is the one that is suspended and that a person may mean by the
// beginning of its name; else it is what the person said.
func (s *Server) suspendedSite(ctx context.Context, text string) (string, error) {
	suspended, err := s.suspendedSites(ctx)
	if err != nil || suspended[text] != nil {
		return text, err
	}
	var meant []string
	for name := range suspended {
		if text != "" && strings.HasPrefix(name, text) {
			meant = append(meant, name)
		}
	}
	if len(meant) == 1 {
		return meant[0], nil
	}
	return text, nil
}

// siteSummary is what the status says of the sites.
func (s *Server) siteSummary(ctx context.Context) (SiteSummary, error) {
	list, err := s.sites(ctx, &sitesInput{Down: true, Limit: 1})
	summary := SiteSummary{SiteCounts: list.SiteCounts}
	if len(list.Sites) > 0 {
		summary.Worst = &list.Sites[0]
	}
	return summary, err
}

type siteInput struct {
	Name string `path:"name" doc:"Its name, the beginning of that, or a destination that leads there"`
}

func (s *Server) site(ctx context.Context, in *siteInput) (SiteDetail, error) {
	name, err := s.Sites.FindSite(ctx, in.Name)
	if err != nil {
		return SiteDetail{}, err
	}
	_, all := s.Sites.Sites()
	at := slices.IndexFunc(all, func(x deliver.Site) bool { return x.Name == name })
	if at < 0 {
		return SiteDetail{}, &Problem{Status: http.StatusNotFound, Title: "Not known",
			Detail: fmt.Sprintf("%s leads to the site %s, for which there was no mail since the start", in.Name, name)}
	}
	suspensions, err := s.suspendedSites(ctx)
	leads := s.Sites.Destinations(name)
	if leads == nil {
		leads = []mail.Destination{}
	}
	return SiteDetail{Site{all[at], suspensions[name]}, leads[:min(len(leads), MaxLeads)]}, err
}

// destinationsPerEdit is how many destinations one edit names: few enough for
// the text of a filter, however long their names are.
const destinationsPerEdit = filter.MaxLength / 300

// retrySite makes all mail due that is known to lead to a site.
func (s *Server) retrySite(ctx context.Context, in *siteInput, out *lines[EditLine]) error {
	name, err := s.Sites.FindSite(ctx, in.Name)
	if err != nil {
		return err
	}
	leads := s.Sites.Destinations(name)
	if d, wrong := mail.ParseDestination(in.Name); wrong == nil && s.Sites.SiteOf(d) == "" {
		leads = append(leads, d) // FindSite asked the router
	}
	if err := out.begin(); err != nil {
		return nil // the client has left
	}
	s.Sites.TryNow(name)
	var total queue.Edited
	for part := range slices.Chunk(leads, destinationsPerEdit) {
		before := total
		done, err := s.apply(ctx, queue.Filter{Where: filter.ToDestinations(part)}, queue.Change{Kind: queue.ChangeRetry}, func(now queue.Edited) {
			_ = out.sendNow(EditLine{Progress: &queue.Edited{Changed: before.Changed + now.Changed, Pending: before.Pending + now.Pending}}) // fails when the client has left
		})
		if err != nil {
			return err
		}
		total.Changed += done.Changed
		total.Pending += done.Pending
	}
	return out.send(EditLine{Edited: &total})
}

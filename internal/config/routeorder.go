package config

import (
	"strings"

	"postern/internal/mail"
)

// maxMeetings bounds how many characters of patterns are compared for advice: thousands of
// recipients in hundreds of routes are compared each with each, at every start and reload. What goes
// beyond is not warned of.
const maxMeetings = 10_000_000

// adviseRoutes warns of routes that are not asked in the order in which they stand.
func (d *decoder) adviseRoutes() {
	list := d.tables["route"]
	patterns := make([]routePatterns, len(list))
	for i, t := range list {
		patterns[i] = routePatterns{newPatternSet(t.fields.route.Recipients), newPatternSet(t.fields.route.Senders)}
	}
	m := meeting{left: maxMeetings}
	for i, t := range list {
		at, has := t.given["only_unknown"]
		if !has || !t.fields.route.OnlyUnknown {
			continue
		}
		for j := i + 1; j < len(list); j++ {
			if r := list[j].fields.route; !r.OnlyUnknown && m.routes(&patterns[i], &patterns[j]) {
				d.fault(at.key, "route.only_unknown", advicef("put this route below that one, so that they stand as they are asked",
					"is true, so that the route %q below, which takes the same recipients, is asked first", clip(r.Name)))
				break
			}
		}
	}
}

// routePatterns are what a route says of recipients and senders. What lists and maps have in them
// it does not show.
type routePatterns struct{ recipients, senders patternSet }

// patternSet are patterns: those that stand for one text, in lower case, and the others.
type patternSet struct {
	exact   map[string]bool
	starred []mail.Pattern
}

func newPatternSet(texts []Text) patternSet {
	s := patternSet{exact: make(map[string]bool)}
	for _, t := range texts {
		if strings.Contains(t.Text, "*") {
			s.starred = append(s.starred, mail.NewPattern(t.Text))
		} else {
			s.exact[strings.ToLower(t.Text)] = true
		}
	}
	return s
}

func (s *patternSet) isEmpty() bool { return len(s.exact)+len(s.starred) == 0 }

// meeting finds out whether patterns have a text in common, as long as not too much is compared.
type meeting struct{ left int }

// routes reports whether both can be for the same recipient, in mail of the same sender.
func (m *meeting) routes(a, b *routePatterns) bool {
	return m.sets(&a.recipients, &b.recipients) && (a.senders.isEmpty() || b.senders.isEmpty() || m.sets(&a.senders, &b.senders))
}

func (m *meeting) sets(a, b *patternSet) bool {
	few, many := a.exact, b.exact
	if len(many) < len(few) {
		few, many = many, few
	}
	for text := range few {
		if !m.take(1) {
			return false
		}
		if many[text] {
			return true
		}
	}
	for _, p := range a.starred {
		for _, q := range b.starred {
			if !m.take(len(p.String()) * len(q.String())) {
				return false
			}
			if p.Meets(q) {
				return true
			}
		}
	}
	return m.matches(a.starred, b.exact) || m.matches(b.starred, a.exact)
}

func (m *meeting) matches(patterns []mail.Pattern, texts map[string]bool) bool {
	for _, p := range patterns {
		for text := range texts {
			if !m.take(len(text)) {
				return false
			}
			if p.Match(text) {
				return true
			}
		}
	}
	return false
}

// take takes so much of what may be compared, and reports whether there was as much.
func (m *meeting) take(n int) bool {
	m.left = max(m.left-n, -1)
	return m.left >= 0
}

package config

import "strings"

// movedToDirectory are settings that there were once, and what took their place.
var movedToDirectory = map[string]string{
	"local_domains": "local domains are records now: postern domain add example.com",
}

// unknownSetting says what was perhaps meant by a key that table s has not;
// meant is the full key of that, or "".
func unknownSetting(s *section, key string) (f *fault, meant string) {
	const message = "there is no such setting"
	if hint := movedToDirectory[key]; s.name == "" && hint != "" {
		return faultf(hint, message), ""
	}
	if home := homeOf(key); home != nil {
		table := "at the top of the file"
		if s.name != "" {
			table = "in " + s.header()
		}
		return faultf(placeOf(home), message+" %s", table), home.setting(key).key
	}
	var names []string
	for _, row := range s.settings() {
		_, name := row.split()
		names = append(names, name)
	}
	if s.name == "" {
		names = append(names, sectionNames()...)
	}
	near := nearest(key, names)
	if row := s.setting(near); row != nil {
		return faultf(didYouMean(near), message), row.key
	}
	return faultf(didYouMean(near), message), near
}

// homeOf returns the section that has a setting of this very name, or nil.
func homeOf(key string) *section {
	for i := range sections {
		if sections[i].setting(key) != nil {
			return &sections[i]
		}
	}
	return nil
}

// placeOf says where in the file the settings of s stand.
func placeOf(s *section) string {
	if s.name == "" {
		return "it belongs at the top of the file, before the first table"
	}
	return "it belongs below " + s.header()
}

// unknownTable says what was perhaps meant by the name of a table; meant is
// the full key or the table of that, or "".
func unknownTable(key string) (f *fault, meant string) {
	if row := findSetting(key); row != nil {
		table, name := row.split()
		return faultf(placeOf(findSection(table))+", as: "+name+" = ...", "is a setting, not a table"), row.key
	}
	const message = "there is no such table"
	if near := nearest(key, sectionNames()); near != "" {
		return faultf(didYouMean(near), message), near
	}
	return faultf("the tables are "+strings.Join(sectionNames(), ", "), message), ""
}

func sectionNames() []string {
	var names []string
	for i := range sections {
		if sections[i].name != "" {
			names = append(names, sections[i].name)
		}
	}
	return names
}

// didYouMean returns the hint for a name that is near to what was written.
func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return "did you mean " + near + "?"
}

// nearest returns the name nearest to key, or "" when none is near: more than
// a third of the letters would have to change.
func nearest(key string, names []string) string {
	key = strings.ReplaceAll(strings.ToLower(clip(key)), "-", "_")
	best, least := "", max(1, len(key)/3)+1
	for _, n := range names {
		if d := distance(key, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to put in, take out, change or swap with
// their neighbour that makes a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// DidYouMean returns the hint for what is not one of the names: which of them was
// perhaps meant; empty when none is near.
func DidYouMean(written string, names []string) string { return didYouMean(nearest(written, names)) }

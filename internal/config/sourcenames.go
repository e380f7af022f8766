package config

import (
	"postern/internal/mail"
)

// DirectorySource is the source of accounts that is always there, and has no table.
const DirectorySource = "directory"

// sourceTables are the tables that are sources of accounts. What asks for a source
// names it alone, so that their names are those of one list.
var sourceTables = []sourceTable{
	{"ldap", func(f fields) string { return f.ldap.Name }},
	{"oidc", func(f fields) string { return f.oidc.Name }},
	{"http_auth", func(f fields) string { return f.httpAuth.Name }},
}

// sourceTable is a section whose tables are sources, with how one is called.
type sourceTable struct {
	section string
	name    func(fields) string
}

// SourceNames returns what sources there are, in the order of the reference: the
// directory, and those of the tables.
func (c *Config) SourceNames() []string {
	names := []string{DirectorySource}
	for _, s := range sourceTables {
		for _, m := range findSection(s.section).tables.each(c) {
			names = append(names, m.name)
		}
	}
	return names
}

// checkSourceNames wants sources that can be told apart.
func (d *decoder) checkSourceNames() {
	type first struct {
		section string
		at      mail.Place
	}
	seen := make(map[string]first)
	for _, s := range sourceTables {
		for _, t := range d.tables[s.section] {
			name, at := s.name(t.fields), t.given["name"].value
			before, twice := seen[name]
			switch {
			case name == "": // it is missing, or was reported
			case name == DirectorySource:
				d.fault(at, s.section+".name", faultf("choose another", "%q is the directory of the server itself", name))
			case twice:
				d.fault(at, s.section+".name", faultf("give each source of accounts its own name, whatever its kind",
					"%q is also that of the %s %s", name, before.section, whence(before.at, at)))
			default:
				seen[name] = first{s.section, at}
			}
		}
	}
}

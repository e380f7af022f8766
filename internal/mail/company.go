package mail

// Company is one of several that share the server, as far as mail shows it.
type Company struct {
	// Name is what the configuration calls it; empty for mail that is of none.
	Name string
	// Hostname is the name under which the server speaks in its mail.
	Hostname string
	// Postmaster gets the copies of its reports.
	Postmaster Address
}

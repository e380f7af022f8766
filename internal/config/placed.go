package config

import "postern/internal/mail"

// Placed is what every table of a section has that can be there several times.
type Placed struct {
	// Place is where the table begins in the file; the zero Place for one made in code.
	// Places are those of its settings.
	Place  mail.Place
	Places Places
}

// Problem returns one with a setting of the table, at its place if it was set.
func (p *Placed) Problem(key, message, hint string) Problem {
	return problemOf(p.Place, p.Places, key, message, hint)
}

// Wrong returns the problem that the value of a setting cannot be used.
func (p *Placed) Wrong(key string, err error) Problem {
	problem := p.Problem(key, err.Error(), "")
	problem.Cause = err
	return problem
}

package config

import "postern/internal/mail"

// Placed is what every table of a section has that can be there several times.
type Placed struct {
	// Place is where the table begins in the file; the zero Place for one made in code.
	// Places are those of its settings.
	Place  mail.Place
	Places Places
}

// Places are where settings were set, by key, such as "listener.address".
// What has its default has none.
type Places map[string]mail.Place

// PlaceOf returns where a setting was set; that of the table, if it was not.
func (p *Placed) PlaceOf(key string) mail.Place {
	if at, set := p.Places[key]; set {
		return at
	}
	return p.Place
}

// Problem returns one with a setting of the table, at its PlaceOf.
func (p *Placed) Problem(key, message, hint string) Problem {
	return Problem{Place: p.PlaceOf(key), Key: key, Message: message, Hint: hint}
}

// Wrong returns the problem that the value of a setting of the table cannot be used.
func (p *Placed) Wrong(key string, err error) Problem {
	return p.Problem(key, err.Error(), "").because(err)
}

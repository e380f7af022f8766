package route

import "context"

// Discard is a transport that drops all mail. Name is what it is called.
type Discard struct{ Name string }

// Route returns the way to nowhere. It does not fail.
func (d Discard) Route(context.Context, Question) (Route, error) {
	return Route{Name: d.Name, Site: d.Name + ":", Discard: true}, nil
}

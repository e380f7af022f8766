package blocklist

import (
	"context"
	"strings"
	"time"
)

// maxText bounds what a list says in a reply, in octets: a line of a reply has room
// for 512 (RFC 5321 4.5.3.1.5).
const maxText = 200

// textTimeout bounds the question for a text: the client is refused without it.
const textTimeout = time.Second

// Text says in a line of a reply who is listed, by which list, why, as far as the list
// says so, and how to be taken off. It asks the list, for up to a second, and is meant
// for who is refused.
func (s *Set) Text(ctx context.Context, h Hit) string {
	ctx, cancel := context.WithTimeout(ctx, textTimeout)
	defer cancel()
	text := h.Whom + " is listed by " + h.Name
	if said, err := s.options.Resolver.LookupText(ctx, h.name); err == nil {
		if reason := printable(said[0]); reason != "" {
			text += " (" + reason + ")"
		}
	}
	if h.Removal != "" {
		text += "; to be taken off the list: " + h.Removal
	}
	return text
}

// printable is what a stranger says in a form that a reply can have: printable ASCII,
// and not too long.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = s[:maxText-3] + "..."
	}
	return s
}

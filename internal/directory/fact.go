package directory

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// field is one of a record, as a fact tells it.
type field struct {
	name, value string
	// secret is never told; only that it is there, or has changed.
	secret bool
}

func userFields(u *User) []field {
	var services []string
	for _, s := range []struct {
		name string
		may  bool
	}{{"submit", u.Services.Submit}, {"relay", u.Services.Relay}, {"pop", u.Services.POP}} {
		if s.may {
			services = append(services, s.name)
		}
	}
	return []field{
		{name: "password", value: u.Password, secret: true},
		{name: "scram", value: u.SCRAM, secret: true},
		{name: "enabled", value: strconv.FormatBool(u.Enabled)},
		{name: "expires", value: timeText(u.Expires)},
		{name: "services", value: strings.Join(services, " ")},
		{name: "addresses", value: strings.Join(u.Addresses, " ")},
		{name: "delegates", value: strings.Join(u.Delegates, " ")},
		{name: "messages_per_hour", value: numberText(u.Limits.MessagesPerHour)},
		{name: "recipients_per_day", value: numberText(u.Limits.RecipientsPerDay)},
		{name: "max_size", value: numberText(u.Limits.MaxSize)},
		{name: "language", value: u.Language},
		{name: "groups", value: groupText(u.Groups)},
		{name: "networks", value: strings.Join(networkTexts(u.Networks), " ")},
		{name: "certificates", value: strings.Join(u.Certificates, " ")},
		{name: "route", value: u.Route},
		{name: "class", value: u.Class},
		{name: "note", value: u.Note},
	}
}

// groupText tells groups apart that have a comma in their name: what reads the same would
// be taken for no change.
func groupText(groups []string) string {
	list := make([]string, len(groups))
	for i, g := range groups {
		if list[i] = g; strings.ContainsAny(g, `,"`) {
			list[i] = strconv.Quote(g)
		}
	}
	return strings.Join(list, ", ")
}

func domainFields(d *Domain) []field { return []field{{name: "alias_of", value: d.AliasOf}} }

func aliasFields(a *Alias) []field {
	return []field{{name: "targets", value: strings.Join(a.Targets, " ")}}
}

func listFields(l *List) []field {
	return []field{
		{name: "kind", value: string(l.Kind)}, {name: "address", value: l.Address},
		{name: "owner", value: l.Owner}, {name: "posters", value: string(l.Posters)},
	}
}

func banFields(b *Ban) []field {
	return []field{
		{name: "since", value: timeText(b.Since)}, {name: "until", value: timeText(b.Until)},
		{name: "reason", value: b.Reason}, {name: "count", value: numberText(int64(b.Count))},
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func numberText(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// text is what a fact tells of a change: what the fields of a record are that is new or was
// removed, or each field that has changed, before and after.
func (e *edit) text() string {
	var parts []string
	switch {
	case e.before == nil:
		parts = append([]string{"created"}, present(e.after)...)
	case e.after == nil:
		parts = append([]string{"removed"}, present(e.before)...)
	default:
		for i, f := range e.after {
			if f != e.before[i] {
				parts = append(parts, f.name+" "+changeOf(e.before[i], f))
			}
		}
	}
	return factText(e.key, append(parts, e.more...))
}

func changeOf(before, after field) string {
	switch {
	case !after.secret:
		return orNone(before.value) + " -> " + orNone(after.value)
	case before.value == "":
		return "set"
	case after.value == "":
		return "removed"
	}
	return "changed"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func present(fields []field) []string {
	var parts []string
	for _, f := range fields {
		switch {
		case f.value == "":
		case f.secret:
			parts = append(parts, f.name+" set")
		default:
			parts = append(parts, f.name+" "+f.value)
		}
	}
	return parts
}

// entriesText tells how the entries of a list have changed.
func entriesText(added, removed []string) []string {
	var parts []string
	for _, of := range []struct {
		what string
		list []string
	}{{"added", added}, {"removed", removed}} {
		if len(of.list) > 0 {
			parts = append(parts, fmt.Sprintf("%d entries %s: %s", len(of.list), of.what, strings.Join(of.list[:min(len(of.list), toldEntries)], " ")))
		}
	}
	return parts
}

const (
	// toldEntries is how many entries of a list a fact names, of those that came and of
	// those that went.
	toldEntries = 20
	// maxFactText bounds the text of a fact, in octets.
	maxFactText = 2000
)

func factText(k Key, parts []string) string {
	text := k.String() + ": " + strings.Join(parts, "; ")
	if len(text) > maxFactText {
		text = strings.ToValidUTF8(text[:maxFactText], "") + "…"
	}
	return text
}

// tell adds a fact to the outbox.
func (tx *Tx) tell(text string) error {
	fact, err := mail.AppendFact(nil, &mail.Fact{Time: tx.now.UTC(), Reason: mail.ReasonDirectory, Actor: tx.actor, Text: text})
	if err != nil {
		return err
	}
	if err := tx.exec(`INSERT INTO outbox (n, fact) VALUES (?, ?)`, int64(tx.next), string(fact)); err != nil {
		return err
	}
	tx.next++
	tx.facts++
	return nil
}

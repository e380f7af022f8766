package config

import "strings"

// listPrefix begins the name of a list where it stands among values.
const listPrefix = "list:"

// withLists lets a setting that is a list have the names of lists of a kind among its
// values: "list:NAME". They are kept in a field of their own.
func withLists(values value, kind ListKind, field func(fields) *[]Text) value {
	v := values
	v.kind, v.names, v.namesOf = values.kind+" and lists", field, kind
	v.read = func(n node, f fields, report reportFunc) {
		rest := n
		rest.items = nil
		var names []Text
		for _, item := range n.items {
			name, is := strings.CutPrefix(item.text, listPrefix)
			if item.kind != nodeText || !is {
				rest.items = append(rest.items, item)
				continue
			}
			names = append(names, Text{Text: name, Place: f.source.place(item.at)})
		}
		*field(f) = names
		values.read(rest, f, report)
	}
	v.reset = func(f fields) {
		values.reset(f)
		*field(f) = nil
	}
	v.show = func(f fields) Value {
		var items []string
		for _, t := range *field(f) {
			items = append(items, quote(listPrefix+t.Text))
		}
		shown := string(values.show(f))
		if len(items) == 0 {
			return Value(shown)
		}
		if literal := strings.TrimSuffix(strings.TrimPrefix(shown, "["), "]"); literal != "" {
			items = append([]string{literal}, items...)
		}
		return Value("[" + strings.Join(items, ", ") + "]")
	}
	v.copy = func(from, to fields) {
		values.copy(from, to)
		*field(to) = append([]Text(nil), *field(from)...)
	}
	return v
}

// checkListNames wants every list that is named to be there, and of the kind that is
// asked for.
func (d *decoder) checkListNames() {
	kinds := make(map[string]ListKind)
	var names []string
	for _, t := range d.tables["list"] {
		kinds[t.fields.list.Name] = t.fields.list.Kind
		names = append(names, t.fields.list.Name)
	}
	for i := range settings {
		row := &settings[i]
		if row.value.names == nil {
			continue
		}
		section, _ := row.split()
		for _, t := range d.tables[section] {
			for _, name := range *row.value.names(t.fields) {
				if f := wrongList(name.Text, kinds, names, row.value.namesOf); f != nil {
					d.fault(name.Place, row.key, f)
				}
			}
		}
	}
}

// wrongList says why a list cannot be asked.
func wrongList(name string, kinds map[string]ListKind, names []string, want ListKind) *fault {
	kind, is := kinds[name]
	switch {
	case !is && len(names) == 0:
		return faultf("add it as a table [[list]]", "there is no list %q", clip(name))
	case !is:
		return faultf(DidYouMean(name, names), "there is no list %q", clip(name))
	case kind != "" && kind != want:
		return faultf("", "the list %q is one of %s, not of %s", clip(name), kind, want)
	}
	return nil
}

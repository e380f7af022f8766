package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Bounds of what is included, so that a loop of links ends.
const (
	maxDepth  = 8
	maxFiles  = 256
	maxOctets = 8 << 20 // of all files together
)

// pattern is the type of what is included. Only the last part of a path may
// have wildcards: a directory that cannot be read is then told from one that
// does not match.
var pattern = textType("file pattern", "file patterns", `write the path of a file, or a pattern such as "conf.d/*.toml"`,
	func(s string) (string, *fault) {
		dir, name := path.Split(s)
		switch {
		case name == "" || strings.ContainsRune(s, 0):
			return "", faultf("", "%q is not the path of a file", clip(s))
		case hasWildcard(dir):
			return "", faultf("", "%q has a wildcard before the last slash", clip(s))
		}
		if _, err := path.Match(name, ""); err != nil {
			return "", faultf("", "%q is not a pattern: a bracket is not closed, or a backslash stands alone", clip(s))
		}
		return s, nil
	})

func hasWildcard(s string) bool { return strings.ContainsAny(s, `*?[\`) }

// include reads what the file that was just read includes.
func (d *decoder) include() {
	at, is := d.top.given["include"]
	if !is || at.source != d.source {
		return
	}
	if at.node.kind != nodeList {
		d.unread = true // as below
	}
	for _, item := range at.node.items {
		text, wrong := pattern.read(item)
		if wrong != nil {
			d.unread = true // the fault itself is reported already
			continue
		}
		names, err := d.match(text)
		if err != nil {
			d.notIncluded(item, faultf("", "%s", reasonOf(text, err)))
		}
		for _, name := range names {
			if wrong := d.includeFile(name); wrong != nil {
				d.notIncluded(item, wrong)
			}
		}
	}
}

func (d *decoder) notIncluded(item node, f *fault) {
	d.unread = true
	d.report(item.at, "include", f)
}

// match returns the files that a pattern stands for, sorted by name, with the
// directory of the file that has the pattern before them.
func (d *decoder) match(text string) ([]string, error) {
	full := text
	if !path.IsAbs(text) {
		full = path.Join(path.Dir(d.file), text)
	}
	dir, name := path.Split(full)
	if !hasWildcard(name) {
		return []string{full}, nil
	}
	entries, err := d.system.ReadDir(path.Clean(dir + "."))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(name, ".")
		if ok, _ := path.Match(name, e.Name()); ok && !hidden {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// includeFile reads one file, and says what keeps it from being read.
func (d *decoder) includeFile(name string) *fault {
	depth := 0
	for s := d.source; s != nil; s = s.by {
		if depth++; path.Clean(s.file) == name {
			return d.circle(name, s)
		}
	}
	already := slices.IndexFunc(d.sources, func(s *source) bool { return path.Clean(s.file) == name })
	switch {
	case already >= 0:
		return faultf("include each file once", "%s is included already", clip(name))
	case depth > maxDepth:
		return faultf("include it from a file nearer to the first", "%s is included through more than %d files", clip(name), maxDepth)
	case len(d.sources) > maxFiles:
		return faultf("", "%s is one file too many; %d can be included", clip(name), maxFiles)
	}
	src, err := openSource(d.system, name)
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = `make the file, or write a pattern such as "conf.d/*.toml", which may match none`
		}
		return faultf(hint, "%s", reasonOf(name, err))
	}
	if d.octets += len(src.data); d.octets > maxOctets {
		return faultf("", "with %s there are more than %s to read", clip(name), formatSize(maxOctets))
	}
	src.by = d.source
	d.readSource(src)
	return nil
}

// circle says by which files s, whose name it is, came to include itself.
func (d *decoder) circle(name string, s *source) *fault {
	var between []string
	for b := d.source; b != s; b = b.by {
		between = append(between, clip(b.file))
	}
	if len(between) == 0 {
		return faultf(`put the others into a directory of their own, such as "conf.d/*.toml"`, "%s includes itself", clip(name))
	}
	slices.Reverse(between)
	return faultf("leave this one out", "%s includes itself through %s", clip(name), strings.Join(between, " and "))
}

// reasonOf names a file that cannot be read, and why.
func reasonOf(name string, err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Sprintf("%s cannot be read: %v", clip(name), err)
}

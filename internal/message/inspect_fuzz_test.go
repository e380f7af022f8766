package message

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzInspect: whatever a message is, looking at it takes work that goes with its
// size, what is said of it is text in bounds, and the same the next time,
// however it is read.
func FuzzInspect(f *testing.F) {
	for _, group := range nastyGroups {
		for _, n := range group {
			if len(n.in) < 10_000 {
				f.Add(crlf(n.in))
			}
		}
	}
	f.Fuzz(func(t *testing.T, content string) {
		got := inspect(t, content)
		again, err := Inspect(strings.NewReader(content), InspectLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Types(), got.Types()) || !slices.Equal(again.Names(), got.Names()) || !slices.Equal(again.Defects, got.Defects) {
			t.Errorf("%q: %q %q %q, and then %q %q %q", content, got.Types(), got.Names(), got.Defects, again.Types(), again.Names(), again.Defects)
		}
		for _, s := range slices.Concat(got.Names(), got.Subjects) {
			if !utf8.ValidString(s) {
				t.Errorf("%q: %q is not UTF-8", content, s)
			}
		}
		checkParts(t, content, got)
	})
}

// checkParts checks the tree of parts.
func checkParts(t *testing.T, content string, got *Inspection) {
	if len(got.Parts) == 0 || got.Parts[0].Path != "1" || got.Size != int64(len(content)) {
		t.Fatalf("%q: %+v", content, got)
	}
	seen, octets := map[string]bool{}, int64(0)
	for _, p := range got.Parts {
		if at := strings.LastIndexByte(p.Path, '.'); at >= 0 && !seen[p.Path[:at]] || seen[p.Path] {
			t.Errorf("%q: part %s has no parent, or is there twice", content, p.Path)
		}
		if len(p.Types) == 0 || len(p.Encodings) == 0 || p.Size < 0 {
			t.Errorf("%q: %+v", content, p)
		}
		seen[p.Path] = true
		octets += p.Size
	}
	if octets > got.Size {
		t.Errorf("%q: parts of %d octets in %d", content, octets, got.Size)
	}
}

// FuzzParameters: what is read of a field is text, and a well-formed value is
// among its readings.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		" attachment; filename=a.exe", " a/b; name*0*=utf-8''%41; name*1=b", " a/b; name=\"a\\\"b\" (c)", " a;\r\n name=\"x\r\n y\"", " a/b (c; name=d", ";;=;\"",
	} {
		f.Add(s, "a.exe")
	}
	f.Fuzz(func(t *testing.T, raw, value string) {
		var v values
		for _, s := range parseStructured(raw) {
			s.collect("name", &v)
			s.collect("filename", &v)
			if len(s.params) > maxParameters {
				t.Errorf("%q: %d parameters", raw, len(s.params))
			}
		}
		if len(v.list) > maxReadings {
			t.Errorf("%q: %d readings", raw, len(v.list))
		}
		for _, s := range v.list {
			if !utf8.ValidString(s) {
				t.Errorf("%q: %q is not UTF-8", raw, s)
			}
		}
		checkWritten(t, value)
	})
}

// checkWritten writes a value in the ways of RFC 2045 and RFC 2231, and reads it.
func checkWritten(t *testing.T, value string) {
	if value == "" || !utf8.ValidString(value) || strings.ContainsFunc(value, isForbidden) || strings.Contains(value, "=?") || value != strings.Trim(value, " \t") {
		return
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
	percent := ""
	for _, c := range []byte(value) {
		percent += "%" + encodeHex(c)
	}
	half := len(percent) / 6 * 3
	for _, raw := range []string{
		` a/b; name="` + quoted + `"`,
		" a/b;\r\n\tname*=utf-8''" + percent,
		" a/b; name*0*=utf-8'en'" + percent[:half] + ";\r\n name*1*=" + percent[half:],
	} {
		var v values
		first := parseStructured(raw)[0]
		first.collect("name", &v)
		if !slices.Contains(v.list, value) || first.malformed {
			t.Errorf("%q: %q is not in %q", raw, value, v.list)
		}
	}
}

func encodeHex(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

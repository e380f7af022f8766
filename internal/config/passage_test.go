package config

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestTextPlaces finds the letter X, or the end of the text, in each way to write
// text in TOML: the place in the file is that of the X there.
func TestTextPlaces(t *testing.T) {
	for _, written := range []string{
		`'abcX'`, `"abcX"`, `'X'`, `"X"`,
		`"a\nX"`, `"\"\\X"`, `"\u00e9X"`, `"\U0001F600X"`, `"éX"`, `'öX'`,
		"'''\nabc\nX'''", "'''abcX'''", "\"\"\"\nabc\n  X\"\"\"", "\"\"\"a\\\n   X\"\"\"", "\"\"\"\r\na\\u0041X\"\"\"",
	} {
		file := minimal + "[[handler]]\nat = \"mail\"\nsteps = [\"accept\"]\nwhen = " + written + "\n"
		c := load(t, file)
		when := c.Handlers[0].When
		x := strings.LastIndex(file, "X")
		line := strings.Count(file[:x], "\n") + 1
		column := len([]rune(file[strings.LastIndex(file[:x], "\n")+1:x])) + 1
		if at := when.PlaceAt(strings.IndexByte(when.Text, 'X')); at.File != "postern.toml" || at.Line != line || at.Column != column {
			t.Errorf("%s: X of %q is at %v, want %d:%d", written, when.Text, at, line, column)
		}
		if end := when.PlaceAt(len(when.Text) + 9); end.Line < line || end.Line == line && end.Column <= column {
			t.Errorf("%s: the end is at %v", written, end)
		}
	}
	made := Text{Text: "X", Place: load(t, minimal).Listeners[0].Place}
	if at := made.PlaceAt(5); at != made.Place {
		t.Errorf("of text made in code %v, want %v", at, made.Place)
	}
}

func TestHandlers(t *testing.T) {
	c := load(t, minimal+`
[[handler]]
at = "rcpt"
steps = ["hold", { reject = "550 \"No\"" }, { limit = "5/1h", per = ['a"b'], "x y" = -1, ok = false }]
`)
	h := c.Handlers[0]
	if got := h.Title(); got != "handler at postern.toml:9" {
		t.Errorf("it is called %q", got)
	}
	want := []string{`"hold"`, `{ reject = "550 \"No\"" }`, `{ limit = "5/1h", per = ["a\"b"], "x y" = -1, ok = false }`}
	var got []string
	for i := range h.Steps {
		got = append(got, h.Steps[i].String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, at := range []struct {
		text Text
		want string
	}{
		{h.Steps[0].Name, "postern.toml:11:10"}, {h.Steps[1].Name, "postern.toml:11:20"}, {h.Steps[1].Argument.Text, "postern.toml:11:29"},
		{h.Steps[2].Options[1].Name, "postern.toml:11:78"}, {h.Steps[2].Options[1].Argument.Text, "postern.toml:11:86"},
	} {
		if at.text.Place.String() != at.want {
			t.Errorf("%q is at %v, want %s", at.text.Text, at.text.Place, at.want)
		}
	}
}

// FuzzTextPlace: a place within text is within the file, whatever is written.
func FuzzTextPlace(f *testing.F) {
	for _, s := range []string{`'a'`, `"\u00e9"`, `"\x41"`, "'''\n'''", "\"\"\"\\\n \"\"\"", `"\U00110000"`} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, written string, offset int) {
		file := minimal + "[[handler]]\nat = \"mail\"\nsteps = [\"accept\"]\nwhen = " + written + "\n"
		c, err := Load(fstest.MapFS{"f": {Data: []byte(file)}}, "f")
		if err != nil || len(c.Handlers) == 0 {
			return
		}
		at := c.Handlers[0].When.PlaceAt(offset)
		lines := strings.Split(file, "\n")
		if at.Line < 1 || at.Line > len(lines) || at.Column < 1 || at.Column > len([]rune(lines[at.Line-1]))+1 {
			t.Errorf("%q: octet %d is at %v", written, offset, at)
		}
	})
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

// texts makes files of name and text, by turns.
func texts(list ...string) fstest.MapFS {
	files := make(fstest.MapFS)
	for i := 0; i < len(list); i += 2 {
		files[list[i]] = &fstest.MapFile{Data: []byte(list[i+1])}
	}
	return files
}

func TestInclude(t *testing.T) {
	c, err := Load(texts(
		"etc/postern.toml", "include = [\"conf.d/*.toml\", \"none/*.toml\", \"site.toml\"]\n"+minimal,
		"etc/conf.d/20-b.toml", "[[listener]]\nname = \"b\"\naddress = \"[::1]:2\"\n[delivery]\nport = 26\n",
		"etc/conf.d/10-a.toml", "include = [\"more/x.toml\"]\n[[listener]]\nname = \"a\"\naddress = \"[::1]:1\"\n",
		"etc/conf.d/more/x.toml", "own_addresses = [\"192.0.2.1\"]\n[[listener]]\nname = \"x\"\naddress = \"[::1]:3\"\n",
		"etc/conf.d/.hidden.toml", "colour = 1\n",
		"etc/conf.d/README", "colour = 1\n",
		"etc/site.toml", "\ufeff[delivery]\nmax_recipients = 7\n",
	), "etc/postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range c.Listeners {
		names = append(names, l.Name)
	}
	want := []any{
		"smtp a x b", 26, 7,
		"etc/postern.toml etc/conf.d/10-a.toml etc/conf.d/more/x.toml etc/conf.d/20-b.toml etc/site.toml",
		[]string{"conf.d/*.toml", "none/*.toml", "site.toml", "more/x.toml"},
		mail.Place{File: "etc/conf.d/more/x.toml", Line: 1, Column: 1},
		mail.Place{File: "etc/conf.d/20-b.toml", Line: 3, Column: 1},
		mail.Place{File: "etc/postern.toml", Line: 1, Column: 1},
	}
	got := []any{
		strings.Join(names, " "), c.Delivery.Port, c.Delivery.MaxRecipients, strings.Join(c.Files, " "), c.Include,
		c.Places["own_addresses"], c.Listeners[3].Places["listener.address"], c.Places["include"],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestIncludeOnDisk: paths in an included file are taken from where it lies.
func TestIncludeOnDisk(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc", "postern.toml"), "include = [\"conf.d/*.toml\", \""+dir+"/far.toml\"]\n"+strings.Replace(minimal, "/var/lib/postern", "data", 1))
	write(t, filepath.Join(dir, "etc", "conf.d", "a.toml"), "admin_socket = \"x.sock\"\n")
	write(t, filepath.Join(dir, "far.toml"), "log.level = \"debug\"\n")
	t.Chdir(dir)
	c, err := LoadFile("etc/postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "etc", "data"), filepath.Join(dir, "etc", "conf.d", "x.sock"), "etc/postern.toml etc/conf.d/a.toml " + dir + "/far.toml"}
	got := []string{c.DataDir, c.Socket(), strings.Join(c.Files, " ")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// noDirectory cannot list its directories.
type noDirectory struct{ fs.FS }

func (noDirectory) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestIncludeBounds(t *testing.T) {
	chain := func(n int) fstest.MapFS {
		files := texts("f", "include = [\"1\"]\n"+minimal)
		for i := 1; i <= n; i++ {
			text := fmt.Sprintf("include = [\"%d\"]\n", i+1)
			if i == n {
				text = ""
			}
			files[fmt.Sprint(i)] = &fstest.MapFile{Data: []byte(text)}
		}
		return files
	}
	many := func(n int, text string) fstest.MapFS {
		files := texts("f", "include = [\"d/*\"]\n"+minimal)
		for i := range n {
			files[fmt.Sprintf("d/%03d", i)] = &fstest.MapFile{Data: []byte(text)}
		}
		return files
	}
	for name, c := range map[string]struct {
		files fs.FS
		want  string // "" for none
	}{
		"deep enough":      {chain(maxDepth), ""},
		"too deep":         {chain(maxDepth + 1), "8:1:12: include: 9 is included through more than 8 files"},
		"many":             {many(maxFiles, ""), ""},
		"too many":         {many(maxFiles+1, ""), "f:1:12: include: d/256 is one file too many; 256 can be included"},
		"large":            {many(8, "#"+strings.Repeat("x", maxFile-1)), ""},
		"too large":        {many(9, "#"+strings.Repeat("x", maxFile-1)), "f:1:12: include: with d/008 there are more than 8MiB to read"},
		"one too large":    {many(1, strings.Repeat("\n", maxFile+1)), "f:1:12: include: d/000 cannot be read: larger than 1MiB"},
		"cannot be listed": {noDirectory{many(1, "")}, "f:1:12: include: d/* cannot be read: permission denied"},
		"a directory":      {fstest.MapFS{"f": many(0, "")["f"], "d/x/y": {}}, "f:1:12: include: d/x cannot be read: invalid argument"},
	} {
		_, err := Load(c.files, "f")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
}

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const badConfigs = "../../test/badconfig"

// TestBadConfigs loads each file NAME.toml of test/badconfig and compares
// what is said of it, places included, with NAME.want.
// Among them are names that are never in DNS (RFC 6761 6.3, RFC 6762 3), and the port
// whose TLS comes first (RFC 8314 3.3).
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(badConfigs, "*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			_, err := Load(os.DirFS(badConfigs), filepath.Base(file))
			if _, ok := errors.AsType[*Errors](err); !ok {
				t.Fatalf("error %v, want Errors", err)
			}
			got := err.Error() + "\n"
			if strings.Contains(got, "hunter2") || strings.Contains(got, "271828") {
				t.Errorf("it shows a secret:\n%s", got)
			}
			wantFile := strings.TrimSuffix(file, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzLoad reads any bytes from two files, of which one may include the other:
// a Config or problems, each with a place within its file, and the same ones
// every time.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal), []byte(nil))
	f.Add([]byte(everything), []byte(nil))
	f.Add([]byte("include = [\"*.toml\"]\n"+minimal), []byte("include = [\"f\"]\n[[listener]]\nname = \"b\"\naddress = \":1\""))
	files, err := filepath.Glob(filepath.Join(badConfigs, "*.toml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte(nil))
		f.Add([]byte("include = [\"x.toml\"]\n"+minimal), data)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		fsys := fstest.MapFS{"f": {Data: first}, "x.toml": {Data: second}}
		c, err := Load(fsys, "f")
		if err == nil {
			checkLoaded(t, c, fsys)
			return
		}
		problems, ok := errors.AsType[*Errors](err)
		if !ok || len(problems.Problems) == 0 || c != nil {
			t.Fatalf("error %v with %v", err, c)
		}
		checkPlaces(t, problems.Problems, fsys)
		if _, again := Load(fsys, "f"); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("twice, not the same:\n%v\n%v", err, again)
		}
	})
}

// checkLoaded checks what every configuration has.
func checkLoaded(t *testing.T, c *Config, fsys fstest.MapFS) {
	t.Helper()
	if c == nil || c.Hostname == "" || len(c.Listeners) == 0 || c.Files[0] != "f" {
		t.Fatalf("a configuration without what is required: %+v", c)
	}
	checkPlaces(t, c.Warnings, fsys)
	for key, at := range c.Places {
		checkPlaces(t, []Problem{{Place: at, Key: key, Message: "set"}}, fsys)
	}
	if changes := Changed(c, c); len(changes) > 0 {
		t.Errorf("differs from itself: %v", changes)
	}
}

func checkPlaces(t *testing.T, problems []Problem, fsys fstest.MapFS) {
	t.Helper()
	for _, p := range problems {
		file, known := fsys[p.Place.File]
		if !known || p.Place.Line < 1 || p.Place.Line > strings.Count(string(file.Data), "\n")+1 || p.Place.Column < 1 || p.Message == "" {
			t.Errorf("%q has no place in its file", p)
		}
	}
}

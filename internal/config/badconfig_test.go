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

// FuzzLoad reads any bytes: a Config or problems, each with a place within
// the file, and the same ones every time.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(everything))
	files, err := filepath.Glob(filepath.Join(badConfigs, "*.toml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{"f": {Data: data}}
		c, err := Load(fsys, "f")
		if err == nil {
			if c == nil || c.Hostname == "" || len(c.Listeners) == 0 {
				t.Fatalf("a configuration without what is required: %+v", c)
			}
			return
		}
		problems, ok := errors.AsType[*Errors](err)
		if !ok || len(problems.Problems) == 0 || c != nil {
			t.Fatalf("error %v with %v", err, c)
		}
		last := strings.Count(string(data), "\n") + 1
		for _, p := range problems.Problems {
			if p.Place.Line < 1 || p.Place.Line > last || p.Place.Column < 1 || p.Message == "" {
				t.Errorf("problem %q without a place in %d lines", p, last)
			}
		}
		if _, again := Load(fsys, "f"); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("twice, not the same:\n%v\n%v", err, again)
		}
	})
}

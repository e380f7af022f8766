package policy

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

const badConfigs = "../../test/badconfig/policy"

// TestBadConfigs compiles each file NAME.toml of test/badconfig/policy, which loads,
// and compares what is said of it, places included, with NAME.want.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(badConfigs, "*.toml"))
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), "files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			c, err := config.Load(os.DirFS(badConfigs), filepath.Base(file))
			if err != nil {
				t.Fatal(err)
			}
			e, problems := Compile(options(c))
			if e != nil || len(problems) == 0 {
				t.Fatal("nothing is wrong with it")
			}
			var got strings.Builder
			for _, p := range problems {
				got.WriteString(p.String() + "\n")
			}
			compareWith(t, strings.TrimSuffix(file, ".toml")+".want", got.String())
		})
	}
}

// compareWith compares with a file, or writes it with -update.
func compareWith(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

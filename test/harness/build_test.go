package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildPostern: what is kept is the program, built as of now,
// and a second one is not linked again.
func TestBuildPostern(t *testing.T) {
	first, err := BuildPostern(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := keptBinaries()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(kept, "postern"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := BuildPostern(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(filepath.Join(kept, "postern")); err != nil || !os.SameFile(before, after) {
		t.Errorf("linked again: %v, %v", after, err)
	}
	for _, binary := range []string{first, second} {
		if out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "postern ") {
			t.Errorf("%s says %q, %v", binary, out, err)
		}
	}
}

// TestLinkOrCopy: the target has the content whatever was there, and stays as it is when
// the source is replaced, on one file system and on two.
func TestLinkOrCopy(t *testing.T) {
	targets := []string{t.TempDir()}
	if other, err := os.MkdirTemp("/dev/shm", "postern-harness-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(other) })
		targets = append(targets, other)
	}
	for _, dir := range targets {
		source, target := filepath.Join(t.TempDir(), "source"), filepath.Join(dir, "target")
		for path, text := range map[string]string{source: "new", target: "old"} {
			if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := linkOrCopy(source, target); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(source); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(target)
		info, statErr := os.Stat(target)
		if err != nil || statErr != nil || string(text) != "new" || info.Mode().Perm() != 0o755 {
			t.Errorf("in %s there is %q, %v, %v", dir, text, err, statErr)
		}
	}
}

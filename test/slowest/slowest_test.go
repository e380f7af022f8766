package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is a module with packages of every kind of result.
var module = map[string]string{
	"go.mod":              "module example\n\ngo 1.26\n",
	"good/good_test.go":   "package good\nimport \"testing\"\nfunc TestGood(t *testing.T) { t.Log(\"said by good\"); t.Run(\"part\", func(t *testing.T) {}) }\n",
	"bad/bad_test.go":     "package bad\nimport \"testing\"\nfunc TestFine(t *testing.T) { t.Log(\"said by fine\") }\nfunc TestBad(t *testing.T) { t.Run(\"part\", func(t *testing.T) { t.Error(\"said by bad\") }) }\n",
	"panic/panic_test.go": "package panic\nimport \"testing\"\nfunc TestPanic(t *testing.T) { panic(\"said by panic\") }\n",
	"exit/exit_test.go":   "package exit\nimport (\"os\"; \"testing\")\nfunc TestExit(t *testing.T) { t.Log(\"said by exit\"); os.Exit(3) }\n",
	"build/build_test.go": "package build\nvar x int = \"said by build\"\n",
	"none/none.go":        "// Package none has no tests.\npackage none\n",
}

// goTest runs the tests of packages of the module as make does, and returns
// what was printed.
func goTest(t *testing.T, dir string, packages ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	r := newReader(&out)
	err := runAll(t.Context(), [][]string{append([]string{"go", "-C", dir, "test", "-json", "-vet=off"}, packages...)}, r)
	r.printSlowest(3)
	return out.String(), err
}

func writeModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range module {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGoTest has the real "go test" run packages that pass and fail.
func TestGoTest(t *testing.T) {
	dir := writeModule(t)
	for _, c := range []struct {
		pkg        string
		fails      bool
		says, lack []string
	}{
		{"good", false, []string{"ok  \texample/good\t", "the 1 slowest of 1 tests:\n", " example/good TestGood"}, []string{"said by", "PASS", "==="}},
		{"bad", true, []string{"--- FAIL: TestBad/part", "said by bad", "FAIL\texample/bad\t", " example/bad TestFine"}, []string{"said by fine", "==="}},
		{"panic", true, []string{"said by panic", "goroutine ", "FAIL\texample/panic\t"}, []string{"==="}},
		{"exit", true, []string{"said by exit", "FAIL\texample/exit\t"}, []string{"==="}},
		{"build", true, []string{"said by build", "FAIL\texample/build [build failed]\n"}, nil},
		{"none", false, []string{"?   \texample/none\t[no test files]\n"}, nil},
	} {
		t.Run(c.pkg, func(t *testing.T) {
			out, err := goTest(t, dir, "./"+c.pkg)
			if (err != nil) != c.fails {
				t.Errorf("the run ended with %v", err)
			}
			for _, text := range c.says {
				if !strings.Contains(out, text) {
					t.Errorf("the output lacks %q:\n%s", text, out)
				}
			}
			for _, text := range c.lack {
				if strings.Contains(out, text) {
					t.Errorf("the output has %q:\n%s", text, out)
				}
			}
		})
	}
}

// TestCached has it run a package twice.
func TestCached(t *testing.T) {
	dir := writeModule(t)
	for _, cached := range []bool{false, true} {
		out, err := goTest(t, dir, "./good")
		if err != nil || strings.Contains(out, "TestGood (cached)\n") != cached {
			t.Errorf("cached %v: %v\n%s", cached, err, out)
		}
	}
}

// TestInterrupted: a package whose end never came is shown as far as it went,
// and lines that are no events are passed on.
func TestInterrupted(t *testing.T) {
	var out strings.Builder
	err := newReader(&out).read(strings.NewReader(`plain line
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"said by a\n"}
`))
	if want := "plain line\nsaid by a\n"; err != nil || out.String() != want {
		t.Errorf("printed %q, %v; want %q", out.String(), err, want)
	}
}

func TestSlowest(t *testing.T) {
	var out strings.Builder
	r := newReader(&out)
	for _, e := range []event{
		{"pass", "p", "TestA", "", 1}, {"pass", "p", "TestB/x", "", 2.5}, {"pass", "p", "TestB/y", "", 0.25}, {"pass", "p", "TestB", "", 2.75},
		{"fail", "q", "TestA", "", 61}, {"skip", "q", "TestC", "", 0},
	} {
		r.note(e)
	}
	r.printSlowest(3)
	want := "the 3 slowest of 4 tests:\n     1m1s  q TestA\n    2.75s  p TestB (of it TestB/x: 2.5s)\n       1s  p TestA\n"
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}

// TestCommands: the first command that fails is the last.
func TestCommands(t *testing.T) {
	commands := split([]string{"echo", "one", "--", "sh", "-c", "echo two; exit 3", "--", "echo", "three"})
	if want := [][]string{{"echo", "one"}, {"sh", "-c", "echo two; exit 3"}, {"echo", "three"}}; !slices.EqualFunc(commands, want, slices.Equal) {
		t.Fatalf("the commands are %q", commands)
	}
	var out strings.Builder
	err := runAll(t.Context(), commands, newReader(&out))
	if err == nil || out.String() != "one\ntwo\n" {
		t.Errorf("printed %q, %v", out.String(), err)
	}
	if err := runAll(t.Context(), [][]string{{"/no/such/program"}}, newReader(&out)); err == nil {
		t.Error("a command that does not exist did not fail")
	}
}

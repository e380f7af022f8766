package crashpoint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/crashpoint"
)

// TestStepsAreReached: every step of the table stands at one place of the
// program, and every place names a step of the table.
func TestStepsAreReached(t *testing.T) {
	names := constants(t)
	places := calls(t)
	for _, s := range crashpoint.Steps {
		name := names[s.Step]
		if len(places[name]) != 1 {
			t.Errorf("Reach(%s), step %q: want it at one place, it is at %v", name, s.Step, places[name])
		}
		delete(places, name)
		if s.Between == "" {
			t.Errorf("step %q: the table does not say what it stands between", s.Step)
		}
		if strings.ContainsAny(string(s.Step), ": \n") || s.Step == "any" {
			t.Errorf("step %q cannot be written in POSTERN_CRASH_AT", s.Step)
		}
	}
	for name, at := range places {
		t.Errorf("Reach(%s) at %v: that is no step of the table", name, at)
	}
	if len(names) != len(crashpoint.Steps) {
		t.Errorf("there are %d constants and %d steps in the table", len(names), len(crashpoint.Steps))
	}
}

// constants returns the names of the constants of type Step.
func constants(t *testing.T) map[crashpoint.Step]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "crashpoint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[crashpoint.Step]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Step" {
			value := spec.Values[0].(*ast.BasicLit).Value
			names[crashpoint.Step(strings.Trim(value, `"`))] = spec.Names[0].Name
		}
		return true
	})
	return names
}

// calls returns the places that call Reach with each constant.
func calls(t *testing.T) map[string][]string {
	t.Helper()
	files := token.NewFileSet()
	places := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isOurs(call.Fun, "Reach") {
				name := call.Args[0].(*ast.SelectorExpr).Sel.Name
				places[name] = append(places[name], files.Position(call.Pos()).String())
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return places
}

// isOurs reports whether an expression is a name of package crashpoint.
func isOurs(e ast.Expr, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "crashpoint"
}

package internal_test

import (
	"fmt"
	"go/ast"
	"go/doc"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Budgets for code and tests alike. Usual are half of them.
const (
	maxFileLines     = 800
	maxFunctionLines = 100
	maxParameters    = 5 // a receiver and a context do not count
)

var sentenceEnd = regexp.MustCompile(`[.!?](\s|$)`)

func TestEveryPackageIsDocumented(t *testing.T) {
	sentences := map[string]int{}
	for _, f := range readTree(t).files {
		n := len(sentenceEnd.FindAllString(f.syntax.Doc.Text(), -1))
		sentences[f.dir] = max(sentences[f.dir], n)
	}
	for _, dir := range slices.Sorted(maps.Keys(sentences)) {
		if sentences[dir] < 2 {
			t.Errorf("package %s: its doc comment has fewer than two sentences: say what the package is, what it is not, and how it fails", dir)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	tr := readTree(t)
	for _, f := range tr.files {
		if f.isTest {
			continue
		}
		for _, d := range f.syntax.Decls {
			if name, bare := undocumented(d); bare {
				t.Errorf("%s: %s has no doc comment: say what it is, its units and limits, and how it fails", tr.fset.Position(d.Pos()), name)
			}
		}
	}
}

// undocumented returns the exported name of a declaration without a comment.
// A comment above a group speaks for all in it.
func undocumented(d ast.Decl) (name string, bare bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc != nil || !d.Name.IsExported() || !hasExportedReceiver(d) {
			return "", false
		}
		return d.Name.Name, true
	case *ast.GenDecl:
		if d.Doc != nil {
			return "", false
		}
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Doc == nil && s.Name.IsExported() {
					return s.Name.Name, true
				}
			case *ast.ValueSpec:
				if s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
					return s.Names[0].Name, true
				}
			}
		}
	}
	return "", false
}

// hasExportedReceiver reports whether a function has no receiver or one of an
// exported type. Methods that every error has need no comment on others.
func hasExportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	id, ok := typ.(*ast.Ident)
	return !ok || id.IsExported()
}

func TestSizes(t *testing.T) {
	tr := readTree(t)
	for _, f := range tr.files {
		if lines := strings.Count(f.content, "\n"); lines > maxFileLines {
			t.Errorf("%s: %d lines, the limit is %d: split it by what its parts are", f.path, lines, maxFileLines)
		}
		free := map[*ast.FuncType]bool{}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if target := fuzzTarget(n); target != nil {
					free[target] = true
				}
			case *ast.FuncDecl:
				tr.checkLength(t, n, n.Name.Name)
			case *ast.FuncType:
				if !free[n] {
					tr.checkParameters(t, n)
				}
			}
			return true
		})
	}
}

func (tr tree) checkLength(t *testing.T, n ast.Node, name string) {
	begin, end := tr.fset.Position(n.Pos()), tr.fset.Position(n.End())
	if lines := end.Line - begin.Line + 1; lines > maxFunctionLines {
		t.Errorf("%s: function %s has %d lines, the limit is %d: give its steps names of their own", begin, name, lines, maxFunctionLines)
	}
}

func (tr tree) checkParameters(t *testing.T, n *ast.FuncType) {
	count := 0
	for _, field := range n.Params.List {
		if !isContext(field.Type) {
			count += max(1, len(field.Names))
		}
	}
	if count > maxParameters {
		t.Errorf("%s: %d parameters, the limit is %d: gather those that belong together in a struct", tr.fset.Position(n.Pos()), count, maxParameters)
	}
}

func isContext(e ast.Expr) bool { return isSelector(e, "context", "Context") }

// fuzzTarget returns the type of the function in a call f.Fuzz(func...). Its
// parameters are those of the corpus, and cannot be gathered in a struct.
func fuzzTarget(call *ast.CallExpr) *ast.FuncType {
	if !isSelector(call.Fun, "f", "Fuzz") || len(call.Args) != 1 {
		return nil
	}
	if lit, ok := call.Args[0].(*ast.FuncLit); ok {
		return lit.Type
	}
	return nil
}

func isSelector(e ast.Expr, x, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == x && s.Sel.Name == name
}

// The rules that are easy to break unnoticed.
func TestHabits(t *testing.T) {
	tr := readTree(t)
	for _, f := range tr.files {
		if last := f.dir[strings.LastIndexByte(f.dir, '/')+1:]; slices.Contains([]string{"util", "utils", "common", "helpers"}, last) {
			t.Errorf("%s: a package named %s says nothing of what it is", f.path, last)
		}
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: no init functions: build it where it is used", tr.fset.Position(fn.Pos()))
			}
		}
		for _, group := range f.syntax.Comments {
			for _, word := range []string{"TODO", "FIXME", "XXX"} {
				if strings.Contains(group.Text(), word+":") || strings.HasPrefix(group.Text(), word+" ") {
					t.Errorf("%s: no %s in code: do it, or write it down where work is planned", tr.fset.Position(group.Pos()), word)
				}
			}
		}
	}
}

// Every file that names its package's doc must name the package rightly.
func TestPackageDocsBeginWithTheirName(t *testing.T) {
	for _, f := range readTree(t).files {
		if f.syntax.Doc == nil {
			continue
		}
		name := f.syntax.Name.Name
		prefix := fmt.Sprintf("Package %s ", name)
		if name == "main" {
			prefix = "Command "
		}
		if synopsis := new(doc.Package).Synopsis(f.syntax.Doc.Text()); !strings.HasPrefix(synopsis, prefix) {
			t.Errorf("%s: the package doc must begin with %q, it says %q", f.path, prefix, synopsis)
		}
	}
}

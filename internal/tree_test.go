// Package internal_test holds the tests of the source tree as a whole: which
// package may import which, how large things may be, and that the pages under
// docs/ say what the code does. They read the source, and run none of it but
// the tables of words. A test that fails here says what to do.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "postern"

// sourceFile is one Go file of the tree.
type sourceFile struct {
	path    string // from the root, with slashes
	dir     string // that of path
	isTest  bool
	content string
	syntax  *ast.File
}

// tree is every Go file of the module.
type tree struct {
	fset  *token.FileSet
	files []sourceFile
}

// root is the root of the repository, seen from this directory.
const root = ".."

func readTree(t *testing.T) tree {
	t.Helper()
	tr := tree{fset: token.NewFileSet()}
	for _, top := range []string{"cmd", "internal", "test"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(name, ".go"):
				return nil
			}
			return tr.add(name)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(tr.files) < 50 {
		t.Fatalf("only %d Go files found: the tests of the tree look in the wrong place", len(tr.files))
	}
	return tr
}

func (tr *tree) add(name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fromRoot, err := filepath.Rel(root, name)
	if err != nil {
		return err
	}
	fromRoot = filepath.ToSlash(fromRoot)
	syntax, err := parser.ParseFile(tr.fset, fromRoot, content, parser.ParseComments)
	if err != nil {
		return err
	}
	tr.files = append(tr.files, sourceFile{
		path: fromRoot, dir: path.Dir(fromRoot), isTest: strings.HasSuffix(name, "_test.go"),
		content: string(content), syntax: syntax,
	})
	return nil
}

// readDoc returns a page of docs/.
func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

package internal_test

import (
	"os"
	"path/filepath"
	"testing"
)

// page is a Markdown file of the repository.
type page struct {
	path string // from the root
	text string
}

func pages(t *testing.T) []page {
	t.Helper()
	var list []page
	for _, pattern := range []string{"*.md", "docs/*.md", "test/*/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, page{path: path, text: string(text)})
		}
	}
	if len(list) < 8 {
		t.Fatalf("only %d pages found", len(list))
	}
	return list
}

// exists reports whether a path from the page exists.
func (p page) exists(name string) bool { return exists(filepath.Join(filepath.Dir(p.path), name)) }

// exists reports whether a path from the root exists.
func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return err == nil
}

package directory

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// backTo takes back the steps of the schema behind a version.
func (o *opened) backTo(version int) {
	o.t.Helper()
	undo := [][]string{
		1: {`DROP TABLE senders`},
		2: {`ALTER TABLE users DROP COLUMN route`, `ALTER TABLE users DROP COLUMN class`, `DROP TABLE credentials`},
	}
	if len(undo) != len(schema) {
		o.t.Fatal("say how the last step is taken back")
	}
	for _, statements := range undo[version:] {
		for _, s := range statements {
			if _, err := o.writer.Exec(s); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	if _, err := o.writer.Exec(fmt.Sprintf(`DELETE FROM schema_version WHERE version > %d`, version)); err != nil {
		o.t.Fatal(err)
	}
}

// The page tells the tables and columns that there are.
func TestSchemaOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/directory.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "## The database")
	if !found {
		t.Fatal("docs/directory.md has no section about the database")
	}
	name := regexp.MustCompile("`([a-z_]+)`")
	told := map[string][]string{"schema_version": {"version"}}
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.HasPrefix(cells[1], " `") {
			table := name.FindStringSubmatch(cells[1])[1]
			for _, m := range name.FindAllStringSubmatch(cells[2]+cells[3], -1) {
				told[table] = append(told[table], m[1])
			}
		}
	}
	o := newDirectory(t)
	rows, err := o.reader.Query(`SELECT m.name || ' ' || c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := scanTexts(rows)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string][]string{}
	for _, c := range columns {
		table, column, _ := strings.Cut(c, " ")
		there[table] = append(there[table], column)
	}
	for table, columns := range there {
		slices.Sort(columns)
		slices.Sort(told[table])
		if !slices.Equal(columns, told[table]) {
			t.Errorf("table %s has the columns %v; docs/directory.md says %v", table, columns, told[table])
		}
		delete(told, table)
	}
	for table := range told {
		t.Errorf("docs/directory.md tells of a table %s, which is not there", table)
	}
}

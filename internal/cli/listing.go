package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// tableRows is after how many lines a table is printed, with columns as wide
// as these need: a long listing needs no memory.
const tableRows = 1000

// listing prints what comes, a table for people or a line of JSON for each.
type listing struct {
	*app
	head  string
	table *tabwriter.Writer
	bar   *bar
	count int
}

func newListing(a *app, head string) *listing {
	return &listing{app: a, head: head, table: newTable(a.out), bar: newCounter(a.err, "messages")}
}

// add prints one more: the value as JSON, or the rows.
func (l *listing) add(value any, rows func(io.Writer)) error {
	l.count++
	if l.json {
		return l.printJSON(value)
	}
	if l.count == 1 {
		fmt.Fprintln(l.table, l.head)
	}
	rows(l.table)
	if l.count%tableRows == 0 {
		l.bar.end()
		return l.table.Flush()
	}
	return nil
}

// end prints what is left of the table. err is how the listing ended.
func (l *listing) end(err error) error {
	l.bar.end()
	return errors.Join(err, l.table.Flush())
}

package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Shape is how many recipients wait, by destination and age.
type Shape struct {
	// Ages are the upper ends of the columns in seconds; a last column has all
	// that is older.
	Ages []int64 `json:"ages"`
	// Rows are the destinations with the most recipients, these first.
	Rows []ShapeRow `json:"rows"`
	// Others sums up all other destinations, Total all.
	Others ShapeRow `json:"others"`
	Total  ShapeRow `json:"total"`
	// Destinations is how many there are.
	Destinations int `json:"destinations"`
	// Estimated says that there are so many destinations that the rows may
	// lack some recipients, which are then in Others.
	Estimated bool `json:"estimated,omitempty"`
}

// ShapeRow is a row of a Shape.
type ShapeRow struct {
	Destination mail.Destination   `json:"destination,omitempty"`
	Recipients  int                `json:"recipients"`
	States      map[mail.State]int `json:"states"`
	Ages        []int              `json:"ages"` // recipients in each column
}

// ShapeLine is a line of the answer: one of its members is set.
type ShapeLine struct {
	Progress *queue.Progress `json:"progress,omitempty"` // in messages
	Shape    *Shape          `json:"shape,omitempty"`    // in the last line
	Problem  *Problem        `json:"problem,omitempty"`  // likewise
}

// shapeAges are the upper ends of the columns.
var shapeAges = []time.Duration{
	5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour, 24 * time.Hour, 72 * time.Hour,
}

// maxShapeRows is how many destinations are told apart while the queue is
// read. When there are more, the smaller half goes to the others.
const maxShapeRows = 10_000

type shapeInput struct {
	Filter string `query:"filter" doc:"Which recipients; all of them without it (docs/queue.md)"`
	Top    int    `query:"top" minimum:"0" maximum:"1000" default:"20" doc:"How many destinations have a row"`
}

func (s *Server) shape(ctx context.Context, in *shapeInput, out *lines[ShapeLine]) error {
	f := newShaper(s.Clock.Now())
	w := walk{filter: queue.Filter{Where: in.Filter}, progress: func(p queue.Progress) error { return out.sendNow(ShapeLine{Progress: &p}) }}
	if err := s.walk(ctx, w, func(e *queue.Entry, selector *queue.Selector) error {
		f.add(e, selector)
		return nil
	}); err != nil {
		return err
	}
	shape := f.result(in.Top)
	return out.send(ShapeLine{Shape: &shape})
}

// shaper makes a Shape in one pass.
type shaper struct {
	now     time.Time
	rows    map[mail.Destination]*ShapeRow
	others  ShapeRow
	total   ShapeRow
	evicted int // rows that went to the others
}

func newShaper(now time.Time) *shaper {
	return &shaper{now: now, rows: make(map[mail.Destination]*ShapeRow), others: newShapeRow(""), total: newShapeRow("")}
}

func newShapeRow(d mail.Destination) ShapeRow {
	return ShapeRow{Destination: d, States: make(map[mail.State]int), Ages: make([]int, len(shapeAges)+1)}
}

// ageColumn is the column of an age.
func ageColumn(age time.Duration) int {
	i, _ := slices.BinarySearch(shapeAges, age)
	return i
}

func (f *shaper) add(e *queue.Entry, selector *queue.Selector) {
	column := ageColumn(f.now.Sub(e.Accepted))
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range selector.In(e, d) {
			f.row(d.Destination).count(d.Recipients[j].State, column)
			f.total.count(d.Recipients[j].State, column)
		}
	}
}

func (r *ShapeRow) count(s mail.State, column int) {
	r.Recipients++
	r.States[s]++
	r.Ages[column]++
}

func (f *shaper) row(d mail.Destination) *ShapeRow {
	if r := f.rows[d]; r != nil {
		return r
	}
	if len(f.rows) >= maxShapeRows {
		f.evict(maxShapeRows / 2)
	}
	r := newShapeRow(d)
	f.rows[d] = &r
	return &r
}

// evict leaves the largest rows and moves all else to the others.
func (f *shaper) evict(leave int) {
	for _, r := range f.sorted()[leave:] {
		f.others.merge(r)
		delete(f.rows, r.Destination)
		f.evicted++
	}
}

func (r *ShapeRow) merge(other *ShapeRow) {
	r.Recipients += other.Recipients
	for s, n := range other.States {
		r.States[s] += n
	}
	for i, n := range other.Ages {
		r.Ages[i] += n
	}
}

// sorted are the rows, largest first.
func (f *shaper) sorted() []*ShapeRow {
	rows := make([]*ShapeRow, 0, len(f.rows))
	for _, r := range f.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *ShapeRow) int {
		return cmp.Or(cmp.Compare(b.Recipients, a.Recipients), strings.Compare(string(a.Destination), string(b.Destination)))
	})
	return rows
}

func (f *shaper) result(top int) Shape {
	shape := Shape{Rows: []ShapeRow{}, Total: f.total, Destinations: len(f.rows) + f.evicted, Estimated: f.evicted > 0}
	for _, age := range shapeAges {
		shape.Ages = append(shape.Ages, int64(age/time.Second))
	}
	for i, r := range f.sorted() {
		if i < top {
			shape.Rows = append(shape.Rows, *r)
		} else {
			f.others.merge(r)
		}
	}
	shape.Others = f.others
	return shape
}

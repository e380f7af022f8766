package heap

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type item struct{ value, position int }

// TestHeap compares random operations with a sorted list.
func TestHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	h := Heap[*item]{
		Before: func(a, b *item) bool { return a.value < b.value },
		Moved:  func(i *item, position int) { i.position = position },
	}
	var items []*item
	for range 5000 {
		switch n := r.IntN(10); {
		case n < 5 || len(items) == 0:
			item := &item{r.IntN(1000), Absent}
			h.Set(item, item.position, true)
			items = append(items, item)
		case n < 7:
			i := r.IntN(len(items))
			items[i].value = r.IntN(1000)
			h.Set(items[i], items[i].position, true)
		default:
			i := r.IntN(len(items))
			h.Set(items[i], items[i].position, false)
			if items[i].position != Absent {
				t.Fatalf("an item that was removed is at %d", items[i].position)
			}
			items = slices.Delete(items, i, i+1)
		}
		checkHeap(t, &h, items)
	}
	h.Set(&item{}, Absent, false) // is not there, and stays so
	checkHeap(t, &h, items)
}

func checkHeap(t *testing.T, h *Heap[*item], items []*item) {
	t.Helper()
	if h.Len() != len(items) {
		t.Fatalf("%d items, want %d", h.Len(), len(items))
	}
	for i, item := range h.Items {
		if item.position != i {
			t.Fatalf("the item at %d says %d", i, item.position)
		}
	}
	if len(items) > 0 {
		first := slices.MinFunc(items, func(a, b *item) int { return a.value - b.value })
		if h.Top().value != first.value {
			t.Fatalf("the first is %d, want %d", h.Top().value, first.value)
		}
	}
}

package queue

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type heapItem struct{ value, position int }

// TestHeap compares random operations with a sorted list.
func TestHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	h := heap[*heapItem]{
		before: func(a, b *heapItem) bool { return a.value < b.value },
		moved:  func(i *heapItem, position int) { i.position = position },
	}
	var items []*heapItem
	for range 5000 {
		switch n := r.IntN(10); {
		case n < 5 || len(items) == 0:
			item := &heapItem{r.IntN(1000), absent}
			h.set(item, item.position, true)
			items = append(items, item)
		case n < 7:
			i := r.IntN(len(items))
			items[i].value = r.IntN(1000)
			h.set(items[i], items[i].position, true)
		default:
			i := r.IntN(len(items))
			h.set(items[i], items[i].position, false)
			if items[i].position != absent {
				t.Fatalf("an item that was removed is at %d", items[i].position)
			}
			items = slices.Delete(items, i, i+1)
		}
		checkHeap(t, &h, items)
	}
	h.set(&heapItem{}, absent, false) // is not there, and stays so
	checkHeap(t, &h, items)
}

func checkHeap(t *testing.T, h *heap[*heapItem], items []*heapItem) {
	t.Helper()
	if h.len() != len(items) {
		t.Fatalf("%d items, want %d", h.len(), len(items))
	}
	for i, item := range h.items {
		if item.position != i {
			t.Fatalf("the item at %d says %d", i, item.position)
		}
	}
	if len(items) > 0 {
		first := slices.MinFunc(items, func(a, b *heapItem) int { return a.value - b.value })
		if h.top().value != first.value {
			t.Fatalf("the first is %d, want %d", h.top().value, first.value)
		}
	}
}

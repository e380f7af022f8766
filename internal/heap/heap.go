// Package heap is a priority queue whose items know their position, so that
// any of them can be moved or taken out, in logarithmic time. It knows nothing
// of what it holds, and cannot fail; who uses it locks.
package heap

// Heap is a priority queue. Before and Moved are required. It does not lock.
type Heap[T any] struct {
	Items []T // in no order that means anything but that the first is first
	// Before is the order.
	Before func(a, b T) bool
	// Moved tells an item where it is now; Absent when it left.
	Moved func(item T, position int)
}

// Absent is the position of an item that is in no heap.
const Absent = -1

// Len is the number of items.
func (h *Heap[T]) Len() int { return len(h.Items) }

// Top returns the first item. The heap must not be empty.
func (h *Heap[T]) Top() T { return h.Items[0] }

// Push adds an item.
func (h *Heap[T]) Push(item T) {
	h.Items = append(h.Items, item)
	h.up(len(h.Items) - 1)
}

// Remove takes out the item at position i.
func (h *Heap[T]) Remove(i int) T {
	item, last := h.Items[i], len(h.Items)-1
	h.Items[i] = h.Items[last]
	clear(h.Items[last:])
	h.Items = h.Items[:last]
	if i < last {
		h.Fix(i)
	}
	h.Moved(item, Absent)
	return item
}

// Set makes the heap hold item or not; position is where it is now. It also
// restores the order after the item at that position has changed.
func (h *Heap[T]) Set(item T, position int, held bool) {
	switch {
	case held && position == Absent:
		h.Push(item)
	case held:
		h.Fix(position)
	case position != Absent:
		h.Remove(position)
	}
}

// Fix restores the order after the item at position i has changed.
func (h *Heap[T]) Fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *Heap[T]) up(i int) {
	item := h.Items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.Before(item, h.Items[parent]) {
			break
		}
		h.place(h.Items[parent], i)
		i = parent
	}
	h.place(item, i)
}

// down reports whether the item has moved.
func (h *Heap[T]) down(i int) bool {
	item, start := h.Items[i], i
	for {
		child := 2*i + 1
		if child >= len(h.Items) {
			break
		}
		if right := child + 1; right < len(h.Items) && h.Before(h.Items[right], h.Items[child]) {
			child = right
		}
		if !h.Before(h.Items[child], item) {
			break
		}
		h.place(h.Items[child], i)
		i = child
	}
	h.place(item, i)
	return i != start
}

func (h *Heap[T]) place(item T, i int) {
	h.Items[i] = item
	h.Moved(item, i)
}

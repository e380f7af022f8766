package queue

// heap is a priority queue whose items know their position, so that any of
// them can be moved or taken out. It does not lock.
type heap[T any] struct {
	items  []T
	before func(a, b T) bool
	// moved tells an item where it is now; absent when it left.
	moved func(item T, position int)
}

// absent is the position of an item that is in no heap.
const absent = -1

func (h *heap[T]) len() int { return len(h.items) }

// top returns the first item. The heap must not be empty.
func (h *heap[T]) top() T { return h.items[0] }

// push adds an item.
func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.up(len(h.items) - 1)
}

// remove takes out the item at position i.
func (h *heap[T]) remove(i int) T {
	item, last := h.items[i], len(h.items)-1
	h.items[i] = h.items[last]
	clear(h.items[last:])
	h.items = h.items[:last]
	if i < last {
		h.fix(i)
	}
	h.moved(item, absent)
	return item
}

// set makes the heap hold item or not; position is where it is now. It also
// restores the order after the item at that position has changed.
func (h *heap[T]) set(item T, position int, held bool) {
	switch {
	case held && position == absent:
		h.push(item)
	case held:
		h.fix(position)
	case position != absent:
		h.remove(position)
	}
}

// fix restores the order after the item at position i has changed.
func (h *heap[T]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	item := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(item, h.items[parent]) {
			break
		}
		h.place(h.items[parent], i)
		i = parent
	}
	h.place(item, i)
}

// down reports whether the item has moved.
func (h *heap[T]) down(i int) bool {
	item, start := h.items[i], i
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.before(h.items[right], h.items[child]) {
			child = right
		}
		if !h.before(h.items[child], item) {
			break
		}
		h.place(h.items[child], i)
		i = child
	}
	h.place(item, i)
	return i != start
}

func (h *heap[T]) place(item T, i int) {
	h.items[i] = item
	h.moved(item, i)
}

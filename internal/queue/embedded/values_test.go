package embedded

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"postern/internal/queue"
)

func TestAfter(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{{"e", "f"}, {"c\x00", "c\x01"}, {"a\xff", "b"}, {"\xff\xff", ""}} {
		if got := after([]byte(c.prefix)); string(got) != c.want {
			t.Errorf("after(%q) = %q, want %q", c.prefix, got, c.want)
		}
	}
}

func TestSplitKey(t *testing.T) {
	id, part, ok := splitKey(partKey(deliveryPrefix, "0000000000000001", "one.example"))
	if id != "0000000000000001" || part != "one.example" || !ok {
		t.Errorf("splitKey = %q, %q, %v", id, part, ok)
	}
	for _, k := range []string{"", "e", "e0000000000000001"} {
		if _, _, ok := splitKey([]byte(k)); ok {
			t.Errorf("splitKey(%q) found a part", k)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		size   int64
		chunks []int64
	}{{0, nil}, {1, []int64{1}}, {10, []int64{10}}, {11, []int64{10, 1}}, {20, []int64{10, 10}}} {
		p := place{Size: c.size, Chunk: 10}
		var got []int64
		for i := range p.chunks() {
			got = append(got, p.sizeOf(i))
		}
		if !slices.Equal(got, c.chunks) {
			t.Errorf("chunks of %d octets: %v, want %v", c.size, got, c.chunks)
		}
	}
}

// TestChunk: any change to a chunk, and any other place for it, is noticed.
func TestChunk(t *testing.T) {
	sealed := append(make([]byte, checksumSize), "content"...)
	sealChunk(sealed, "body", 3)
	if got, err := openChunk(sealed, "body", 3, 7); err != nil || string(got) != "content" {
		t.Fatalf("openChunk = %q, %v", got, err)
	}
	wrong := map[string]func() ([]byte, error){
		"other body":   func() ([]byte, error) { return openChunk(sealed, "cody", 3, 7) },
		"other number": func() ([]byte, error) { return openChunk(sealed, "body", 2, 7) },
		"other size":   func() ([]byte, error) { return openChunk(sealed, "body", 3, 6) },
		"cut short":    func() ([]byte, error) { return openChunk(sealed[:3], "body", 3, -1) },
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x10
		wrong["changed octet"] = func() ([]byte, error) { return openChunk(changed, "body", 3, 7) }
		for what, f := range wrong {
			if got, err := f(); !errors.Is(err, queue.ErrDamaged) || got != nil {
				t.Errorf("%s: %q, %v", what, got, err)
			}
		}
	}
}

// FuzzDecode: whatever the disk returns, it is decoded or refused.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("e0000000000000001"), []byte(`{"id":"0000000000000001","body":"0000000000000001","deliveries":null}`))
	f.Add([]byte("d0000000000000001\x00one.example"), []byte(`{"destination":"one.example","recipients":[{"address":"a@one.example","state":"queued"}]}`))
	f.Add([]byte("b0000000000000001"), []byte(`{"size":9223372036854775807,"chunk":1}`))
	f.Add([]byte("f\x00\x00\x00\x00\x00\x00\x00\x07"), []byte(`{"reason":"accepted"}`))
	f.Add([]byte("q"), []byte(`[{"change":{"kind":"hold"},"recipients":[-1,99]}]`))
	f.Add([]byte("a"), []byte("17"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if e, err := decodeHeader(key, value); err == nil && string(e.ID) != string(key[1:]) {
			t.Error("a header under a wrong key")
		}
		if d, err := decodeDelivery(key, value); err == nil {
			fuzzRevision(t, d, value)
		}
		if p, err := decodePlace(key, value); err == nil && p.chunks() > 0 && p.sizeOf(0) <= 0 {
			t.Errorf("place %+v has an empty chunk", p)
		}
		_, _ = decodeFact(key, value)
		_, _ = decodeNumber(key, value)
		if n, err := decodeAttempts(key, value); err == nil && n < 0 {
			t.Errorf("%d attempts", n)
		}
		_, _ = decode[queue.Mark](key, value)
		_, _ = decode[queue.EditRecord](key, value)
		_, _ = openChunk(value, "0000000000000001", 0, int64(len(value)-checksumSize))
	})
}

// fuzzRevision applies edits as the disk may return them.
func fuzzRevision(t *testing.T, d queue.Delivery, value []byte) {
	e := queue.Entry{ID: "0000000000000001", Deliveries: []queue.Delivery{d}}
	r := queue.Revise(&e, d.Next)
	edits := []queue.PendingEdit{{Change: queue.Change{Kind: queue.ChangeRemove}, Recipients: []int{-1, len(value), 0}}}
	if err := r.Pending(d.Destination, edits); err != nil {
		t.Errorf("pending edit: %v", err)
	}
	r.Result()
}

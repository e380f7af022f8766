package embedded

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
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
	k := key(placePrefix, "0000000000000001")
	for _, p := range []place{
		{inline: true}, {inline: true, Place: seglog.Place{Size: 5000}},
		{Place: seglog.Place{Segment: 7, Offset: 32, Head: 600, Size: 1 << 40}}, {Place: seglog.Place{Head: 1, Size: 2}},
	} {
		encoded := p.encode()
		if got, err := decodePlace(k, encoded); err != nil || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
		for _, wrong := range [][]byte{nil, encoded[:1], append(encoded, 0), append([]byte{'x'}, encoded[1:]...)} {
			if got, err := decodePlace(k, wrong); !errors.Is(err, queue.ErrDamaged) {
				t.Errorf("%q was taken for %+v", wrong, got)
			}
		}
	}
}

// TestDelivery: what is stored of a delivery comes back whole, and its
// summary alone without the recipients.
func TestDelivery(t *testing.T) {
	noon := time.Date(2024, 5, 17, 12, 0, 0, 123456789, time.UTC)
	recipient := func(s mail.State, h mail.Hold) queue.Recipient {
		return queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "joe", Domain: "one.example"}}, State: s, Hold: h}
	}
	d := queue.Delivery{Destination: "one.example", Attempts: 300, Next: noon, Recipients: []queue.Recipient{
		recipient(mail.Queued, ""), recipient(mail.Deferred, ""), recipient(mail.Held, mail.HoldRoute), recipient(mail.Held, mail.HoldPolicy),
	}}
	k := partKey(deliveryPrefix, "0000000000000001", "one.example")
	for _, next := range []time.Time{noon, {}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		d.Next = next
		encoded, err := encodeDelivery("0000000000000002", -3, &d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeDelivery(k, encoded)
		if diff := cmp.Diff(d, got, cmpopts.EquateComparable(netip.AddrPort{})); err != nil || diff != "" {
			t.Errorf("delivery: %v (-want +got)\n%s", err, diff)
		}
		s, _, err := decodeSummary(k, encoded)
		want := queue.Summary{Next: next, Attempts: 300, Tally: queue.Tally{Queued: 1, Deferred: 1, Held: 2}}
		if err != nil || s.body != "0000000000000002" || s.class != -3 || s.Summary != want {
			t.Errorf("summary is %+v, %v; want %+v", s, err, want)
		}
		for cut := range len(encoded) {
			if _, err := decodeDelivery(k, encoded[:cut]); !errors.Is(err, queue.ErrDamaged) {
				t.Errorf("the first %d octets were taken for a delivery", cut)
			}
		}
	}
	d.Next = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := encodeDelivery("0000000000000002", 0, &d); !errors.Is(err, queue.ErrInvalid) {
		t.Errorf("the year 10000: %v, want ErrInvalid", err)
	}
}

// TestContent: any change to a content, and any other id for it, is noticed.
func TestContent(t *testing.T) {
	sealed := append(make([]byte, checksumSize), "content"...)
	sealContent(sealed, "body")
	if got, err := openContent(sealed, "body", 7); err != nil || string(got) != "content" {
		t.Fatalf("openContent = %q, %v", got, err)
	}
	wrong := map[string]func() ([]byte, error){
		"other body": func() ([]byte, error) { return openContent(sealed, "cody", 7) },
		"other size": func() ([]byte, error) { return openContent(sealed, "body", 6) },
		"cut short":  func() ([]byte, error) { return openContent(sealed[:3], "body", -1) },
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x10
		wrong["changed octet"] = func() ([]byte, error) { return openContent(changed, "body", 7) }
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
	f.Add([]byte("d0000000000000001\x00one.example"), []byte("\x01b\x00\x00\x00\x00\x01\x00\x00"+`[{"address":"a@one.example","state":"queued"}]`))
	f.Add([]byte("b0000000000000001"), []byte("l\x01\x02\x03\x04"))
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
		if p, err := decodePlace(key, value); err == nil && (p.Size < 0 || p.Offset < 0 || p.Head < 0) {
			t.Errorf("place %+v", p)
		}
		_, _ = decodeFact(key, value)
		_, _ = decodeNumber(key, value)
		if n, err := decodeAttempts(key, value); err == nil && n < 0 {
			t.Errorf("%d attempts", n)
		}
		_, _ = decode[queue.Mark](key, value)
		_, _ = decode[queue.EditRecord](key, value)
		_, _ = openContent(value, "0000000000000001", int64(len(value)-checksumSize))
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

package mail

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// encodedFact is a fact as package encoding/json writes it.
func encodedFact(t testing.TB, f *Fact) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(PlainJSONWriter(&b))
	e.SetEscapeHTML(false)
	if err := e.Encode(f); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func checkFact(t testing.TB, f *Fact) {
	t.Helper()
	got, err := AppendFact([]byte("before "), f)
	if want := "before " + encodedFact(t, f); err != nil || string(got) != want {
		t.Fatalf("AppendFact does not write what the struct tags say:\ngot  %s, %v\nwant %s", got, err, want)
	}
}

// TestAppendFact: what is appended is what the struct tags say, whatever of a
// fact is set. A new field that AppendFact does not know fails it.
func TestAppendFact(t *testing.T) {
	checkFact(t, &Fact{})
	checkFact(t, &Fact{Origin: &Origin{}, TLS: &TLS{}, TLSPolicy: &TLSPolicy{}, Reply: &Reply{}, To: []string{}})
	checkFact(t, &Fact{Origin: &Origin{User: &User{}, TLS: &TLS{}}, To: []string{""}})
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var f Fact
		set(t, random, reflect.ValueOf(&f).Elem())
		checkFact(t, &f)
	}
}

// set fills a value, or a part of it, with something.
func set(t *testing.T, random *rand.Rand, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		zone := time.FixedZone("", random.IntN(24*60)*60-12*3600)
		v.Set(reflect.ValueOf(time.Unix(random.Int64N(1<<35), random.Int64N(2)*random.Int64N(1e9)).In(zone)))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(addresses[random.IntN(len(addresses))]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(words[random.IntN(len(words))])
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64N(3) * random.Int64() / 2)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(random.Uint32N(3)) * uint64(random.Uint32()/3))
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(t, random, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(4), 4))
		for i := range v.Len() {
			set(t, random, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if random.IntN(3) > 0 {
				set(t, random, v.Field(i))
			}
		}
	default:
		t.Fatalf("facts have a %s now, which this test cannot fill", v.Type())
	}
}

var words = []string{
	"", "word", "<joe@example.com>", `"a\b"`, "Grüße", "a\tb\nc\rd\x00\x1b\x7f\b\f", "\u0085\u202e\u2028 \U000E0041\U0001F600",
	"bad \xff\xc3 utf8 \xed\xa0\x80", "\ufffd", "nbsp\u00a0", "<>&'",
}

var addresses = []netip.AddrPort{
	{}, netip.MustParseAddrPort("192.0.2.1:25"), netip.MustParseAddrPort("[2001:db8::1]:2525"),
	netip.AddrPortFrom(netip.MustParseAddr("fe80::1%a\"b\x1b"), 25), netip.AddrPortFrom(netip.Addr{}, 25),
	netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 25),
}

// TestAppendFactTime: a time that cannot be written is an error, and leaves
// what was there.
func TestAppendFactTime(t *testing.T) {
	for _, f := range []Fact{
		{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Next: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if got, err := AppendFact([]byte("x"), &f); err == nil || string(got) != "x" {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func FuzzAppendFact(f *testing.F) {
	for _, w := range words {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, text string) { checkFact(t, &Fact{Text: text, To: []string{text}}) })
}

// TestAppendFactAllocates: nothing, into a buffer that is large enough.
func TestAppendFactAllocates(t *testing.T) {
	f := Fact{Reason: ReasonAccepted, Origin: &Origin{Client: addresses[1]}, To: words[1:4], Reply: &Reply{Code: 250}}
	buffer := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { _, _ = AppendFact(buffer, &f) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

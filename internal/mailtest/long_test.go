package mailtest

import "testing"

// failing is a test that may fail without harm.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper()               {}
func (f *failing) Fatalf(string, ...any) { f.failed = true }

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		text string
		want int
		fail bool
	}{{"", 7, false}, {"1", 1, false}, {"1000", 1000, false}, {"0", 0, true}, {"-1", 0, true}, {"many", 0, true}} {
		t.Setenv("NUMBER", test.text)
		var f failing
		if n := Number(&f, "NUMBER", 7); f.failed != test.fail || !test.fail && n != test.want {
			t.Errorf("%q: got %d, failed %v", test.text, n, f.failed)
		}
	}
}

func TestLong(t *testing.T) {
	t.Setenv("LONG", "")
	if Long() {
		t.Error("long without being asked for")
	}
	t.Setenv("LONG", "1")
	if !Long() {
		t.Error("not long")
	}
}

package mail

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecided(t *testing.T) {
	for want, d := range map[string]Decided{
		"no-yahoo (postern.toml:12), reject: 550 5.7.1 No": {Rule: "no-yahoo", Place: "postern.toml:12", Step: "reject", Effect: "550 5.7.1 No"},
		"relay: accepted": {Rule: "relay", Effect: "accepted"},
	} {
		if got := d.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	plain, _ := json.Marshal(Decided{Rule: "r", Effect: "e"})
	if string(plain) != `{"rule":"r","effect":"e"}` {
		t.Errorf("JSON %s", plain)
	}
}

// TestTrail: of a long trail the middle is left out, and it is said how much;
// nothing else of it is lost, and the caller's is as it was.
func TestTrail(t *testing.T) {
	for _, n := range []int{0, 1, MaxTrail, MaxTrail + 1, 1000} {
		steps := make([]Decided, n)
		for i := range steps {
			steps[i] = Decided{Rule: fmt.Sprint(i), Effect: "accepted"}
		}
		got := Trail(steps)
		if len(got) > MaxTrail || n <= MaxTrail && !slices.Equal(got, steps) {
			t.Errorf("%d steps became %d", n, len(got))
		}
		if n <= MaxTrail {
			continue
		}
		at := slices.IndexFunc(got, func(d Decided) bool { return d.Rule == "..." })
		if want := fmt.Sprintf("%d more steps", n-len(got)+1); at < 0 || got[at].Effect != want {
			t.Fatalf("%d steps: %v, want one that says %q", n, got, want)
		}
		rest := slices.Concat(got[:at], got[at+1:])
		if !slices.Equal(rest, slices.Concat(steps[:at], steps[n-len(got)+at+1:])) {
			t.Errorf("%d steps: the others are %v", n, rest)
		}
	}
	long := []Decided{{Rule: "r", Effect: strings.Repeat("ü", maxTrailText)}}
	got := Trail(long)[0].Effect
	if len(got) > maxTrailText+3 || !utf8.ValidString(got) || !strings.HasSuffix(got, "ü...") {
		t.Errorf("a long text became %q", got)
	}
	if len(long[0].Effect) != 2*maxTrailText {
		t.Error("the caller's text was cut")
	}
}

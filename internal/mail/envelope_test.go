package mail

import "testing"

func TestNotify(t *testing.T) {
	tests := []struct {
		in   string
		want Notify
		out  string
	}{
		{"NEVER", NotifyNever, "NEVER"},
		{"never", NotifyNever, "NEVER"},
		{"SUCCESS", NotifySuccess, "SUCCESS"},
		{"FAILURE", NotifyFailure, "FAILURE"},
		{"DELAY,Failure", NotifyDelay | NotifyFailure, "FAILURE,DELAY"},
		{"SUCCESS,FAILURE,DELAY", NotifySuccess | NotifyFailure | NotifyDelay, "SUCCESS,FAILURE,DELAY"},
	}
	for _, tt := range tests {
		got, ok := ParseNotify(tt.in)
		if got != tt.want || !ok || got.String() != tt.out {
			t.Errorf("ParseNotify(%q) = %b (%v), %v", tt.in, got, got, ok)
		}
	}
	for _, in := range []string{"", "NEVER,FAILURE", "FAILURE,NEVER", "FAILURE,", "SOMETIMES", "FAILURE DELAY"} {
		if got, ok := ParseNotify(in); ok {
			t.Errorf("ParseNotify(%q) = %v, want a refusal", in, got)
		}
	}
	if n := Notify(0); n.String() != "" {
		t.Errorf("NOTIFY not given: %q", n)
	}
}

// TestNotifyWants: every set of keywords against every state.
func TestNotifyWants(t *testing.T) {
	keyword := map[State]Notify{
		Deferred: NotifyDelay, Bounced: NotifyFailure, Expired: NotifyFailure,
		Delivered: NotifySuccess, Relayed: NotifySuccess, Expanded: NotifySuccess,
	}
	for n := range NotifyDelay << 1 {
		asked := n
		if n == 0 { // RFC 3461 4.1
			asked = NotifyFailure | NotifyDelay
		}
		for _, s := range States {
			if got, want := n.Wants(s), asked&keyword[s] != 0; got != want {
				t.Errorf("NOTIFY=%s wants to hear of %s: %v", n, s, got)
			}
		}
	}
}

package mail

import "testing"

func TestNotify(t *testing.T) {
	tests := []struct {
		in        string
		want      Notify
		out       string
		onFailure bool
	}{
		{"NEVER", NotifyNever, "NEVER", false},
		{"never", NotifyNever, "NEVER", false},
		{"SUCCESS", NotifySuccess, "SUCCESS", false},
		{"FAILURE", NotifyFailure, "FAILURE", true},
		{"DELAY,Failure", NotifyDelay | NotifyFailure, "FAILURE,DELAY", true},
		{"SUCCESS,FAILURE,DELAY", NotifySuccess | NotifyFailure | NotifyDelay, "SUCCESS,FAILURE,DELAY", true},
	}
	for _, tt := range tests {
		got, ok := ParseNotify(tt.in)
		if got != tt.want || !ok || got.String() != tt.out || got.OnFailure() != tt.onFailure {
			t.Errorf("ParseNotify(%q) = %b (%v), %v, on failure %v", tt.in, got, got, ok, got.OnFailure())
		}
	}
	for _, in := range []string{"", "NEVER,FAILURE", "FAILURE,NEVER", "FAILURE,", "SOMETIMES", "FAILURE DELAY"} {
		if got, ok := ParseNotify(in); ok {
			t.Errorf("ParseNotify(%q) = %v, want a refusal", in, got)
		}
	}
	if n := Notify(0); n.String() != "" || !n.OnFailure() {
		t.Errorf("NOTIFY not given: %q, on failure %v", n, n.OnFailure())
	}
}

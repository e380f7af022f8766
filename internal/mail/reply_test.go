package mail

import (
	"errors"
	"fmt"
	"testing"
)

func TestReplyClass(t *testing.T) {
	type class struct{ zero, success, intermediate, temporary, permanent bool }
	for code, want := range map[int]class{
		0:   {zero: true},
		250: {success: true},
		354: {intermediate: true},
		451: {temporary: true},
		550: {permanent: true},
	} {
		r := Reply{Code: code}
		got := class{r.IsZero(), r.Success(), r.Intermediate(), r.Temporary(), r.Permanent()}
		if got != want {
			t.Errorf("%d: %+v, want %+v", code, got, want)
		}
	}
}

func TestReplyString(t *testing.T) {
	tests := []struct {
		reply          Reply
		string, status string
	}{
		{Reply{}, "no reply", "0.0.0"},
		{Reply{Code: 250}, "250", "2.0.0"},
		{Reply{Code: 354, Text: "go ahead"}, "354 go ahead", "3.0.0"},
		{NewReply(550, "5.1.1", "no such user %s", "joe"), "550 5.1.1 no such user joe", "5.1.1"},
		{Reply{Code: 451, Text: "one\ntwo"}, "451 one two", "4.0.0"},
	}
	for _, tt := range tests {
		if got := tt.reply.String(); got != tt.string {
			t.Errorf("%#v: %q, want %q", tt.reply, got, tt.string)
		}
		if got := tt.reply.Status(); got != tt.status {
			t.Errorf("%#v: status %s, want %s", tt.reply, got, tt.status)
		}
	}
}

func TestReplyOf(t *testing.T) {
	cause := errors.New("disk on fire")
	refused := Refuse(552, "5.3.4", "too large: %d", 7)
	tests := []struct {
		err  error
		want Reply
	}{
		{nil, Reply{}},
		{cause, LocalError},
		{refused, refused.Reply},
		{fmt.Errorf("while reading: %w", refused.Because(cause)), refused.Reply},
		{&Error{Cause: cause}, LocalError},
	}
	for _, tt := range tests {
		if got := ReplyOf(tt.err); got != tt.want {
			t.Errorf("ReplyOf(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

// A cause is one line, so that all of it can be printed.
func TestCauseText(t *testing.T) {
	if got := CauseText(errors.Join(errors.New("a is down"), errors.New("b is full"))); got != "a is down; b is full" {
		t.Errorf("got %q", got)
	}
}

func TestError(t *testing.T) {
	cause := errors.New("disk on fire")
	refused := Refuse(552, "5.3.4", "too large")
	if got, want := refused.Error(), "552 5.3.4 too large"; got != want {
		t.Errorf("without a cause: %q, want %q", got, want)
	}
	because := refused.Because(cause)
	if got, want := because.Error(), "552 5.3.4 too large: disk on fire"; got != want {
		t.Errorf("with a cause: %q, want %q", got, want)
	}
	if !errors.Is(because, cause) || refused.Cause != nil {
		t.Error("Because does not wrap its cause, or changes the error it is called on")
	}
}

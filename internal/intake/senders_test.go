package intake

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/smtp"
)

// sentList are the messages that a door has told of.
type sentList []Sent

func (l *sentList) Sent(m Sent) { *l = append(*l, m) }

// mended is content that had to be repaired.
type mended struct{ smtp.Content }

func (mended) Repaired() bool { return true }

// Each message that was accepted is told of, once, whatever policy makes of it; and no other.
func TestSenders(t *testing.T) {
	const text = "From: a@header.example\r\n\r\nbody\r\n"
	const accepted = 250
	for _, c := range []struct {
		name       string
		send       func(d *door) mail.Reply
		code       int
		recipients int
		repaired   bool
	}{
		{"without policy", func(d *door) mail.Reply { return d.send(content(text)) }, accepted, 1, false},
		{"repaired", func(d *door) mail.Reply { return d.send(mended{content(text)}) }, accepted, 1, true},
		{"in two forms, and dropped for one", func(d *door) mail.Reply {
			return d.sendUnder(&ruling{treat: map[string]policy.Treatment{
				"a@x.example": {Hold: "look"}, "b@x.example": {Sender: &mail.Address{Local: "other", Domain: "x.example"}}, "c@x.example": {Discard: true},
			}}, text, "a@x.example", "b@x.example", "c@x.example")
		}, accepted, 3, false},
		{"not stored", func(d *door) mail.Reply {
			d.store.fail["accept"] = errors.New("the disk is gone")
			return d.send(content(text))
		}, 451, 0, false},
	} {
		var list sentList
		d := newDoor(t, Options{Senders: &list})
		if reply := c.send(d); reply.Code != c.code {
			t.Fatalf("%s: %v", c.name, reply)
		}
		var want sentList
		if c.code == accepted {
			want = sentList{{
				At: now, From: address(t, "joe@sender.example"), HeaderFrom: "a@header.example",
				Recipients: c.recipients, Octets: int64(len(d.stored())), Repaired: c.repaired,
			}}
			if len(list) > 0 && list[0].Origin.Client != inside {
				t.Errorf("%s: from %v", c.name, list[0].Origin.Client)
			}
		}
		for i := range list {
			list[i].Origin = nil
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

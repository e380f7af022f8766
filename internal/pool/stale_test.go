package pool

import (
	"strings"
	"testing"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/route"
)

// TestChangeWhileNamesAreUnknown: settings come in force twice before the names of the
// first were looked up. What is there then is of targets that are none any more.
func TestChangeWhileNamesAreUnknown(t *testing.T) {
	w := newWorld(t, with("192.0.2.1", "192.0.2.2", "192.0.2.3 secure"))
	w.hops(route.Question{})
	w.change(with("192.0.2.3 secure", "192.0.2.1"))
	w.change(with("192.0.2.3 secure", "192.0.2.1"))
	if got := order(w.hops(route.Question{})); got != "192.0.2.3 192.0.2.1" {
		t.Error(got)
	}
	if v := w.state("192.0.2.3"); !v.Secure {
		t.Errorf("%+v", v)
	}
}

// TestLackIsFoundOutAgain: what a server lacks ends mail for good, so that it is asked
// again when that was heard long ago.
func TestLackIsFoundOutAgain(t *testing.T) {
	tended(t, with("192.0.2.1 secure"), func(w *world) {
		lacking := broken{mail.Outcome{State: mail.Deferred, Command: "STARTTLS", Reply: mail.NewReply(451, "4.7.4", "no")}}
		w.answer("192.0.2.1", lacking)
		w.hops(route.Question{})[0].Target.Failed(lacking)
		if _, err := w.Transport("hubs").Route(w.t.Context(), route.Question{}); err == nil || !strings.Contains(err.Error(), "5.7.4") {
			w.t.Fatalf("%v", err)
		}
		w.answer("192.0.2.1", nil)
		w.after(3 * time.Minute)
		was := w.told()
		if _, err := w.Transport("hubs").Route(w.t.Context(), route.Question{}); err == nil || !strings.Contains(err.Error(), "451 4.4.1") {
			w.t.Fatalf("by what was heard long ago: %v", err)
		}
		w.after(0)
		if w.told() == was {
			w.t.Error("mail that waited for the answer is not brought back")
		}
		if got := order(w.hops(route.Question{})); got != "192.0.2.1" {
			w.t.Error(got)
		}
		w.probed()
		w.after(time.Hour)
		if got := w.probed(); got != "" {
			w.t.Errorf("a server that is well is probed: %s", got)
		}
	})
}

// TestPartial: a way says whether there are servers that may be able at another time.
func TestPartial(t *testing.T) {
	w := newWorld(t, with("192.0.2.1", "192.0.2.2"))
	partial := func() bool {
		t.Helper()
		way, err := w.Transport("hubs").Route(t.Context(), route.Question{Size: 5000})
		if err != nil {
			t.Fatal(err)
		}
		return way.Partial
	}
	if partial() {
		t.Error("all can be used")
	}
	w.at("192.0.2.1", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
	if partial() {
		t.Error("the other is known to take less")
	}
	w.at("192.0.2.1", route.Question{}).Target.Failed(nobody)
	w.at("192.0.2.2", route.Question{}).Target.Connected(full10)
	if partial() {
		t.Error("it is, also while it cannot be used")
	}
	w.Drain("192.0.2.2", "anna")
	w.Undrain("192.0.2.2", "anna")
	w.change(with("192.0.2.2", "192.0.2.3"))
	w.at("192.0.2.3", route.Question{}).Target.Failed(nobody)
	if !partial() {
		t.Error("nobody knows what the one takes that cannot be used")
	}
}

// TestUnknownTarget: nothing is final of mail that the servers which are known cannot take, while DNS has not yet said
// where another target is; a target that has been there, or is not in DNS, is no such one.
func TestUnknownTarget(t *testing.T) {
	tended(t, with("192.0.2.1", "late.test", "gone.test"), func(w *world) {
		ask := func() (way route.Route, err error) {
			return w.Transport("hubs").Route(w.t.Context(), route.Question{Size: 5000})
		}
		large := func(want string) {
			w.t.Helper()
			if _, err := ask(); err == nil || !strings.Contains(err.Error(), want) {
				w.t.Errorf("%v, want %s", err, want)
			}
		}
		w.at("192.0.2.1", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
		large("552 5.3.4")
		w.names.Fail("late.test", dns.ErrTemporary)
		w.after(6 * time.Minute)
		w.at("192.0.2.1", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
		large("there was no answer from DNS for late.test")
		w.at("192.0.2.1", route.Question{}).Target.Connected(full10)
		if way, err := ask(); err != nil || !way.Partial {
			w.t.Errorf("all are known: %+v, %v", way, err)
		}
		w.names.Set("late.test", addresses("192.0.2.2")...)
		w.names.Fail("late.test", nil)
		w.after(3 * time.Minute)
		w.at("192.0.2.1", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
		w.at("192.0.2.2", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
		large("552 5.3.4")
		w.names.Fail("late.test", dns.ErrTemporary)
		w.after(6 * time.Minute)
		w.at("192.0.2.1", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
		w.at("192.0.2.2", route.Question{}).Target.Connected(route.Capabilities{ESMTP: true, Size: 1000})
		large("552 5.3.4")
	})
}

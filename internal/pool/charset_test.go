package pool

import (
	"context"
	"errors"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/route"
)

// texts is a message by its sizes in charsets; 0 for one that it cannot be in.
type texts map[string]int64

var errUnreadable = errors.New("the disk is on fire")

func (m texts) InCharset(_ context.Context, charset string) (int64, error) {
	switch size, is := m[charset]; {
	case !is:
		return 0, errUnreadable
	case size == 0:
		return 0, mail.Refuse(550, "5.6.3", "not in %s", charset)
	default:
		return size, nil
	}
}

// TestCharsets: a target with a charset gets what can be in that, by its size in that. What none can be sent
// comes back at once, also while no target can be used (RFC 3463 3.7).
func TestCharsets(t *testing.T) {
	const latin, cyrillic = "192.0.2.1 charset=iso-8859-1", "192.0.2.2 charset=koi8-r"
	for name, c := range map[string]struct {
		targets []string
		down    bool // none can be reached
		q       route.Question
		want    string
	}{
		"in all":                     {[]string{latin, cyrillic}, false, route.Question{Content: texts{"iso-8859-1": 1, "koi8-r": 1}}, "192.0.2.1 192.0.2.2"},
		"in one":                     {[]string{latin, cyrillic}, false, route.Question{Content: texts{"iso-8859-1": 0, "koi8-r": 1}}, "192.0.2.2"},
		"in none, but one takes any": {[]string{latin, cyrillic, "192.0.2.3"}, false, route.Question{Content: texts{"iso-8859-1": 0, "koi8-r": 0}}, "192.0.2.3"},
		"in none":                    {[]string{latin, cyrillic}, false, route.Question{Content: texts{"iso-8859-1": 0, "koi8-r": 0}}, "5.6.3 192.0.2.1 [192.0.2.1:25] takes texts only in iso-8859-1 192.0.2.2 [192.0.2.2:25] takes texts only in koi8-r"},
		"in none, and all are down":  {[]string{latin}, true, route.Question{Content: texts{"iso-8859-1": 0}}, "5.6.3 192.0.2.1 [192.0.2.1:25] takes texts only in iso-8859-1"},
		"in one that is down":        {[]string{latin}, true, route.Question{Content: texts{"iso-8859-1": 1}}, "4.4.1 192.0.2.1 [192.0.2.1:25] cannot be used: nobody"},
		"smaller in it":              {[]string{latin}, false, route.Question{Size: 20_000, Content: texts{"iso-8859-1": 9_000}}, "192.0.2.1"},
		"larger in it":               {[]string{latin}, false, route.Question{Size: 9_000, Content: texts{"iso-8859-1": 11_000}}, "5.3.4 192.0.2.1 [192.0.2.1:25] takes no more than 10000 octets"},
		"nothing is known of it":     {[]string{latin}, false, route.Question{}, "192.0.2.1"},
	} {
		w := newWorld(t, with(c.targets...))
		for _, h := range w.hops(route.Question{}) {
			if c.down {
				h.Target.Failed(errors.New("nobody"))
			} else {
				h.Target.Connected(full10)
			}
		}
		way, err := w.Transport("hubs").Route(t.Context(), c.q)
		got := order(way.Hops)
		if e, ok := errors.AsType[*mail.Error](err); ok {
			got = e.Reply.Enhanced + " " + strings.ReplaceAll(e.Cause.Error(), "\n", " ")
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestCharsetThatCannotBeTried: what keeps the message from being read is no fault of it.
func TestCharsetThatCannotBeTried(t *testing.T) {
	w := newWorld(t, with("192.0.2.1 charset=iso-8859-1"))
	_, err := w.Transport("hubs").Route(t.Context(), route.Question{Content: texts{}})
	if !errors.Is(err, errUnreadable) || mail.ReplyOf(err).Permanent() {
		t.Errorf("%v", err)
	}
}

// TestCharsetOfLane: it is that of the lane, so that a connection for another charset carries nothing; without
// one, nothing is asked of the message.
func TestCharsetOfLane(t *testing.T) {
	w := newWorld(t, with("192.0.2.1 charset=iso-8859-1"))
	if h := w.hops(route.Question{})[0]; h.Charset != "iso-8859-1" {
		t.Errorf("%q", h.Charset)
	}
	w.change(with("192.0.2.1"))
	if h := w.hops(route.Question{Content: texts{}})[0]; h.Charset != "" {
		t.Errorf("%q", h.Charset)
	}
}

package limit

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	for text, want := range map[string]struct {
		rate    Rate
		written string
	}{
		"100/1h":                    {Rate{100, hour, ""}, "100/1h"},
		"100 / 1h":                  {Rate{100, hour, ""}, "100/1h"},
		"100 per 60m":               {Rate{100, hour, ""}, "100/1h"},
		"100 messages per 1h":       {Rate{100, hour, Messages}, "100 messages per 1h"},
		"7 recipients/90s":          {Rate{7, 90 * time.Second, Recipients}, "7 recipients per 90s"},
		"1 connections per 1s":      {Rate{1, time.Second, Connections}, "1 connections per 1s"},
		"50MiB/1d":                  {Rate{50 << 20, day, Octets}, "50MiB/1d"},
		"50MiB octets per 31d":      {Rate{50 << 20, 31 * day, Octets}, "50MiB/31d"},
		"1000 octets per 1d":        {Rate{1000, day, Octets}, "1000 octets per 1d"},
		"1048576GiB/1d":             {Rate{1 << 50, day, Octets}, "1048576GiB/1d"},
		"1125899906842624/31d":      {Rate{1 << 50, 31 * day, ""}, "1125899906842624/31d"},
		"  3   messages  per   1m ": {Rate{3, time.Minute, Messages}, "3 messages per 1m"},
	} {
		got, err := Parse(text)
		if err != nil || got != want.rate {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want.rate)
		}
		if got.String() != want.written {
			t.Errorf("%q is written as %q, want %q", text, got, want.written)
		}
	}
}

func TestParseWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "is not an amount and a time",
		"100":                   "is not an amount and a time",
		"/1h":                   "is not an amount and a time",
		"100/":                  "is not an amount and a time",
		"100/1h/2h":             "is not an amount and a time",
		"100 a b per 1h":        "is not an amount and a time",
		"x/1h":                  `"x" is not an amount`,
		"0/1h":                  `"0" is not an amount`,
		"-1/1h":                 `"-1" is not an amount`,
		"+1/1h":                 `"+1" is not an amount`,
		"1.5/1h":                `"1.5" is not an amount`,
		"1125899906842625/1h":   "is not an amount",
		"1048577GiB/1h":         "is not an amount",
		"99999999999999999G/1h": "is not an amount",
		"50MB/1d":               `"50MB" is not an amount`,
		"100/h":                 `"h" is not a time`,
		"100/0s":                `"0s" is not a time`,
		"100/32d":               `"32d" is not a time`,
		"100/hour":              `"hour" is not a time`,
		"100 mails per 1h":      `"mails" is nothing that can be counted`,
		"50MiB messages per 1d": "messages are counted, and the amount is of octets",
	} {
		_, err := Parse(text)
		if !errors.Is(err, ErrRate) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"100 messages per 1h"`) {
			t.Errorf("%q: %v, want %q and what would be right", text, err, want)
		}
	}
}

// FuzzParse: what is read is written so that it is read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"100/1h", "50MiB/1d", "7 recipients per 1s", "1 octets/31d", "per per per", "9999999999GiB/1h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		if r.Max < 1 || r.Max > maxMax || r.Per < time.Second || r.Per > maxPer {
			t.Fatalf("%q is %+v", s, r)
		}
		if again, err := Parse(r.String()); err != nil || again != r {
			t.Errorf("%q is written as %q, which is %+v, %v", s, r, again, err)
		}
	})
}

// Package limit counts how often something happens, and says when it is too
// often: so many messages, recipients or octets in a time, for each of many keys,
// such as the addresses of clients.
//
// It decides nothing: what becomes of what is over a limit is its caller's. Its
// memory is bounded, whoever makes up keys. Counts are lost with the process: a
// start forgets them. Nothing in it fails but Parse.
//
// It also bounds how many connections one client may have at a time, for any
// protocol: Total and PerClient give listeners that do; and a Breaker says how often
// something that fails is asked.
package limit

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// Rate is how much there may be in a time. What was used counts for Per, from the
// moment at which it was used: there are never more than Max in any time of that
// length, wherever it begins. So "100/1h" means what a person expects: whoever has
// sent 100 messages at 9:10 can send the next at 10:10, and not 100 at 9:59 and
// 100 more at 10:01.
type Rate struct {
	// Max is how much; from 1 to 2^50.
	Max int64
	// Per is the time, from 1s to 31d.
	Per time.Duration
	// Of is what is counted; empty if that is not said.
	Of Unit
}

// Unit is what a rate counts.
type Unit string

// What rates count.
const (
	Messages    Unit = "messages"
	Recipients  Unit = "recipients"
	Connections Unit = "connections"
	Octets      Unit = "octets"
)

var units = []Unit{Messages, Recipients, Connections, Octets}

const (
	maxMax = 1 << 50
	maxPer = 31 * 24 * time.Hour
)

// ErrRate is what Parse fails with, wrapped with what was wrong.
var ErrRate = errors.New(`write it as "100/1h", "100 messages per 1h" or "50MiB/1d"`)

// sizes are the units of octets, the largest first.
var sizes = []struct {
	suffix string
	octets int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// Parse reads a rate: an amount, what is counted if that is to be said, "/" or
// "per", and a time. The amount is a whole number; with KiB, MiB or GiB behind it,
// of octets. The time is a whole number and one of the units s, m, h and d.
//
// It fails with what was wrong and ErrRate.
func Parse(s string) (Rate, error) {
	words := strings.Fields(strings.ReplaceAll(s, "/", " per "))
	at := slices.Index(words, "per")
	if at < 1 || at > 2 || len(words) != at+2 {
		return Rate{}, fmt.Errorf("%q is not an amount and a time: %w", s, ErrRate)
	}
	r, err := parseAmount(words[0])
	if err != nil {
		return Rate{}, err
	}
	if at == 2 {
		if r.Of, err = r.of(Unit(words[1])); err != nil {
			return Rate{}, err
		}
	}
	if r.Per, err = mail.ParseWait(words[at+1]); err != nil || r.Per > maxPer {
		return Rate{}, fmt.Errorf("%q is not a time from 1s to 31d: %w", words[at+1], ErrRate)
	}
	return r, nil
}

func parseAmount(word string) (Rate, error) {
	digits, r, unit := word, Rate{}, int64(1)
	for _, size := range sizes {
		if before, found := strings.CutSuffix(word, size.suffix); found {
			digits, r.Of, unit = before, Octets, size.octets
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63) // unlike ParseInt it takes no sign
	if err != nil || n == 0 || int64(n) > maxMax/unit {
		return Rate{}, fmt.Errorf("%q is not an amount from 1 to %d: %w", word, int64(maxMax), ErrRate)
	}
	r.Max = int64(n) * unit
	return r, nil
}

// of is what the rate counts if that is written behind its amount.
func (r Rate) of(unit Unit) (Unit, error) {
	if !slices.Contains(units, unit) {
		return "", fmt.Errorf("%q is nothing that can be counted; messages, recipients, connections and octets are: %w", unit, ErrRate)
	}
	if r.Of != "" && r.Of != unit {
		return "", fmt.Errorf("%s are counted, and the amount is of octets: %w", unit, ErrRate)
	}
	return unit, nil
}

// String returns the rate as Parse reads it.
func (r Rate) String() string {
	amount, between := strconv.FormatInt(r.Max, 10), "/"
	switch r.Of {
	case "":
	case Octets:
		amount, between = formatSize(r.Max)
	default:
		between = " " + string(r.Of) + " per "
	}
	return amount + between + mail.FormatWait(r.Per)
}

func formatSize(octets int64) (amount, between string) {
	for _, size := range sizes {
		if octets%size.octets == 0 {
			return strconv.FormatInt(octets/size.octets, 10) + size.suffix, "/"
		}
	}
	return strconv.FormatInt(octets, 10), " octets per "
}

package config

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// The types of which some values are allowed but unwise. Each is a type with
// its advice.

// atLeast is a type of which less than a value is allowed but unwise, for the
// reason why.
func atLeast[T cmp.Ordered](s scalar[T], least T, why string) scalar[T] {
	shown := s.show(least)
	s.advised = "at least " + shown
	s.unwise = func(v T) *fault {
		if v >= least {
			return nil
		}
		return advicef("set at least "+shown, "is %s: %s", s.show(v), why)
	}
	return s
}

// The least that RFC 5321 4.5.4.1 wants: the age at which to give up, and
// what is far below its 30 minutes between two attempts.
const (
	leastAge  = 4 * day
	leastWait = 5 * time.Minute
)

// patient is a schedule for mail that somebody waits for.
func patient(s scalar[mail.Schedule]) scalar[mail.Schedule] {
	s.advised = "until at least 4d"
	s.unwise = func(v mail.Schedule) *fault {
		switch {
		case v.Until < leastAge:
			return advicef("write until 4d or 5d", "gives up after %s: RFC 5321 4.5.4.1 asks for 4 to 5 days, and servers are down over a weekend", formatDuration(v.Until))
		case v.Every < leastWait:
			return advicef("repeat every 30m or 1h", "repeats every %s: RFC 5321 4.5.4.1 asks for 30 minutes, and servers block clients that ask all the time", formatDuration(v.Every))
		}
		return nil
	}
	return s
}

// moreThanOne is a number of files, of which one alone is unwise.
func moreThanOne(s scalar[int]) scalar[int] {
	s.unwise = func(v int) *fault {
		if v != 1 {
			return nil
		}
		return advicef("keep 2 or more", "is 1: all that the journal tells is gone whenever a file is full")
	}
	return s
}

// forJudges is how long people have to judge what is in quarantine.
func forJudges(s scalar[time.Duration]) scalar[time.Duration] {
	s.advised = "at least 3d"
	s.unwise = func(v time.Duration) *fault {
		switch {
		case v == 0:
			return advicef(`set a time, such as "30d"`, "is %s: nothing is ever removed, and what nobody judges fills the disk", s.show(v))
		case v < 3*day:
			return advicef(`set "3d" or more`, "is %s: what comes on a Friday is gone before anybody looks", s.show(v))
		}
		return nil
	}
	return s
}

// ownNetwork is an address at which strangers had better not ask.
func ownNetwork(s scalar[netip.AddrPort]) scalar[netip.AddrPort] {
	s.unwise = func(v netip.AddrPort) *fault {
		if ip := v.Addr(); !ip.IsUnspecified() && !isPublic(ip) {
			return nil
		}
		return advicef("write an address of this machine alone, such as 127.0.0.1, or of an inner network",
			"%s can be reached by everybody: who asks needs no password", s.show(v))
	}
	return s
}

// examples are the domains that nobody has (RFC 2606, RFC 6761).
var examples = []string{"example.com", "example.net", "example.org", "example", "test"}

// notExampleName is a name that had better not be one of an example.
func notExampleName(s scalar[string]) scalar[string] {
	s.unwise = func(v string) *fault {
		if !isExample(v) {
			return nil
		}
		return advicef("write the name that this host has in DNS", "%q is the name of an example: no other server finds this host by it", v)
	}
	return s
}

func isExample(domain string) bool {
	return slices.ContainsFunc(examples, func(e string) bool { return domain == e || strings.HasSuffix(domain, "."+e) })
}

// notExampleAddress is an address that had better not be one of an example.
func notExampleAddress(s scalar[mail.Address]) scalar[mail.Address] {
	s.unwise = func(a mail.Address) *fault {
		if !isExample(strings.ToLower(a.Domain)) {
			return nil
		}
		return advicef("write the address of whoever looks after this server", "%q is the address of an example: nobody reads what is sent there", a.String())
	}
	return s
}

package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
)

// The scalar types. Each reads strictly: what could mean two things is a
// fault, whose hint says what to write.

// textType is a type whose values are text. What parse finds wrong gets the
// hint, unless it has one of its own.
func textType[T any](kind, kinds, hint string, parse func(string) (T, *fault)) scalar[T] {
	return scalar[T]{
		kind:  kind,
		kinds: kinds,
		read: func(n node) (v T, wrong *fault) {
			if n.kind != nodeText {
				return v, faultf(hint, "is %s, not text", n.describe())
			}
			if v, wrong = parse(n.text); wrong != nil && wrong.hint == "" {
				wrong.hint = hint
			}
			return v, wrong
		},
		show: func(v T) string { return quote(fmt.Sprint(v)) },
	}
}

var boolean = scalar[bool]{
	kind: "boolean",
	read: func(n node) (bool, *fault) {
		if n.kind != nodeBoolean {
			return false, faultf("write true or false, without quotes", "is %s, not a boolean", n.describe())
		}
		return n.text == "true", nil
	},
	show: strconv.FormatBool,
}

func integer(least, most int) scalar[int] {
	show := strconv.Itoa
	return scalar[int]{
		kind:   "integer",
		limits: limits(least, most, show),
		read: func(n node) (int, *fault) {
			if n.kind != nodeInteger {
				return 0, faultf("write a number without quotes", "is %s, not an integer", n.describe())
			}
			// A number too large for 64 bits is read as the largest or
			// smallest, which is out of every range.
			i, err := strconv.ParseInt(n.text, 0, 64)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return 0, faultf("", "is %s, which cannot be read", n.describe())
			}
			if i < int64(least) || i > int64(most) {
				return 0, faultf("", "is %s; it must be %s", clip(n.text), limits(least, most, show))
			}
			return int(i), nil
		},
		show: show,
	}
}

// limits writes a range.
func limits[T cmp.Ordered](least, most T, show func(T) string) string {
	if least == most {
		return show(least)
	}
	return show(least) + " to " + show(most)
}

// unit is a unit of a duration or a size.
type unit[T int64 | time.Duration] struct {
	suffix string
	value  T
}

// The units, the largest first.
var (
	timeUnits = []unit[time.Duration]{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	sizeUnits = []unit[int64]{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
)

// parseUnits reads a whole number with a unit; ok is false for any other
// text. A number too large to be held is the largest.
func parseUnits[T int64 | time.Duration](s string, units []unit[T]) (v T, ok bool) {
	const most = 1<<63 - 1
	for _, u := range units {
		digits, found := strings.CutSuffix(s, u.suffix)
		if !found || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > most/int64(u.value) {
			return most, true
		}
		return T(n) * u.value, true
	}
	return 0, false
}

func formatUnits[T int64 | time.Duration](v T, units []unit[T]) (text string, ok bool) {
	for _, u := range units {
		if v != 0 && v%u.value == 0 {
			return strconv.FormatInt(int64(v/u.value), 10) + u.suffix, true
		}
	}
	return "", false
}

func formatDuration(d time.Duration) string {
	if text, ok := formatUnits(d, timeUnits); ok {
		return text
	}
	return d.String()
}

func formatSize(octets int64) string {
	if text, ok := formatUnits(octets, sizeUnits); ok {
		return text
	}
	return strconv.FormatInt(octets, 10)
}

func duration(least, most time.Duration) scalar[time.Duration] {
	const hint = `write a whole number and one of the units s, m, h, d: "30s"`
	t := textType("duration", "durations", hint, func(s string) (time.Duration, *fault) {
		d, ok := parseUnits(s, timeUnits)
		if !ok {
			return 0, faultf("", "%q is not a duration", clip(s))
		}
		if d < least || d > most {
			return 0, &fault{message: fmt.Sprintf("is %q; it must be %s", clip(s), limits(least, most, formatDuration))}
		}
		return d, nil
	})
	t.limits = limits(least, most, formatDuration)
	t.show = func(d time.Duration) string { return quote(formatDuration(d)) }
	return t
}

func size(least, most int64) scalar[int64] {
	return scalar[int64]{
		kind:   "size",
		limits: limits(least, most, formatSize),
		read: func(n node) (int64, *fault) {
			octets, wrong := parseSize(n)
			if wrong == nil && (octets < least || octets > most) {
				return 0, faultf("", "is %s; it must be %s", clip(n.text), limits(least, most, formatSize))
			}
			return octets, wrong
		},
		show: func(octets int64) string { return quote(formatSize(octets)) },
	}
}

// ParseSize reads a size as a setting has it: octets, or a number and a unit.
func ParseSize(text string) (int64, error) {
	n := node{kind: nodeText, text: text}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		n.kind = nodeInteger
	}
	octets, wrong := parseSize(n)
	if wrong == nil && octets < 0 {
		wrong = faultf("", "is less than nothing")
	}
	if wrong != nil {
		return 0, fmt.Errorf("%s; %s", wrong.message, wrong.hint)
	}
	return octets, nil
}

func parseSize(n node) (int64, *fault) {
	const hint = `write octets as a number, or with a unit: "64KiB", "50MiB", "1GiB"`
	switch n.kind {
	case nodeInteger:
		octets, err := strconv.ParseInt(n.text, 0, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, faultf(hint, "is %s, which cannot be read", n.describe())
		}
		return octets, nil
	case nodeText:
		if octets, ok := parseUnits(n.text, sizeUnits); ok {
			return octets, nil
		}
		return 0, faultf(hint, "%q is not a size", clip(n.text))
	}
	return 0, faultf(hint, "is %s, not a size", n.describe())
}

// choice is one of a few values, each with the word for it.
type choice[T comparable] struct {
	word  string
	value T
	text  string // of the reference
}

func oneOf[T comparable](choices ...choice[T]) scalar[T] {
	var words []string
	var options []option
	for _, c := range choices {
		words = append(words, quote(c.word))
		options = append(options, option{word: c.word, text: c.text})
	}
	s := textType("word", "words", "write one of "+strings.Join(words, ", "), func(text string) (v T, wrong *fault) {
		for _, c := range choices {
			if c.word == text {
				return c.value, nil
			}
		}
		return v, faultf("", "%q is not one of its words", clip(text))
	})
	s.options = options
	s.show = func(v T) string {
		for _, c := range choices {
			if c.value == v {
				return quote(c.word)
			}
		}
		return `""`
	}
	return s
}

var hostname = textType("host name", "host names", `write the full name that this host has in DNS, such as "mail.example.com"`,
	func(s string) (string, *fault) {
		name := strings.ToLower(strings.TrimSuffix(s, "."))
		if _, err := netip.ParseAddr(name); err == nil || strings.HasPrefix(name, "[") {
			return "", faultf("", "%q is an address, not a name", clip(s))
		}
		if err := mail.CheckDomain(name); err != nil {
			return "", faultf("", "%q: %v", clip(s), err)
		}
		if !strings.Contains(name, ".") {
			return "", faultf("", "%q has no dot", clip(s))
		}
		if len(name) != utf8.RuneCountInString(name) {
			return "", faultf("write its xn-- form", "%q is not ASCII", clip(s))
		}
		if last := name[strings.LastIndexByte(name, '.')+1:]; slices.Contains(neverInDNS, last) {
			return "", faultf("", "%q is a name that nobody else can look up", clip(s))
		}
		return name, nil
	})

// neverInDNS are top-level domains that machines give themselves (RFC 6761 6.3,
// 6.4; RFC 6762 3; the last by habit). Servers refuse mail from such names.
var neverInDNS = []string{"localhost", "invalid", "local", "localdomain"}

var domain = textType("domain", "domains", `write a domain, such as "example.com"`,
	func(s string) (string, *fault) {
		if strings.HasPrefix(s, "[") {
			return "", faultf("", "%q is an address, not a domain", clip(s))
		}
		if err := mail.CheckDomain(s); err != nil {
			return "", faultf("", "%q: %v", clip(s), err)
		}
		return strings.ToLower(s), nil
	})

var mailAddress = textType("mail address", "mail addresses", `write local-part@domain, such as "postmaster@example.com"`,
	func(s string) (mail.Address, *fault) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return mail.Address{}, faultf("", "%q: %v", clip(s), err)
		}
		if a.Domain == "" {
			return mail.Address{}, faultf("", "%q has no domain", clip(s))
		}
		return a, nil
	})

var ipAddress = textType("IP address", "IP addresses", `write an IPv4 or IPv6 address, such as "192.0.2.1"`,
	func(s string) (netip.Addr, *fault) {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" {
			return netip.Addr{}, faultf("", "%q is not an IP address", clip(s))
		}
		return ip.Unmap(), nil
	})

var network = textType("network", "networks", `write a network such as "10.0.0.0/8", or one address`,
	func(s string) (netip.Prefix, *fault) {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			return netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return netip.Prefix{}, faultf("", "%q is not a network", clip(s))
		}
		if p != p.Masked() {
			return netip.Prefix{}, faultf(fmt.Sprintf("write %q for the network, or the address alone", p.Masked()),
				"%q is an address within a network", s)
		}
		return p, nil
	})

// smtpPort is the port of a server that is named without one (RFC 5321 4.5.4.2).
const smtpPort = 25

var server = serverAt(smtpPort)

// serverAt is a server, with the port that it has if none is named.
func serverAt(port uint16) scalar[mail.HostPort] {
	return textType("server", "servers", `write host or host:port, such as "relay.example.com:587" or "[2001:db8::1]:25"`,
		func(s string) (mail.HostPort, *fault) {
			h, err := mail.ParseHostPort(s, port)
			if err != nil {
				return mail.HostPort{}, faultf("", "%q: %v", clip(s), err)
			}
			return h, nil
		})
}

// dnsPort is the port of a name server that is named without one (RFC 1035 4.2).
const dnsPort = 53

var nameServer = textType("name server", "name servers", `write an IP address, and a port unless it is 53, such as "192.0.2.53" or "[2001:db8::53]:5353"`,
	func(s string) (netip.AddrPort, *fault) {
		ip, err := netip.ParseAddr(s)
		if err == nil {
			return netip.AddrPortFrom(ip.Unmap(), dnsPort), nil
		}
		a, err := netip.ParseAddrPort(s)
		if err != nil || a.Port() == 0 {
			return netip.AddrPort{}, faultf("", "%q is not the address of a name server", clip(s))
		}
		return a, nil
	})

// tlsPolicy is the type of a TLS policy, under which a certificate must be for
// a name, if for any, as whom says.
func tlsPolicy(whom string) scalar[TLSPolicy] {
	return oneOf(
		choice[TLSPolicy]{"none", TLSNone, "in clear, even if the server offers TLS"},
		choice[TLSPolicy]{"opportunistic", TLSOpportunistic, "with TLS if the server offers it and it works, else in clear"},
		choice[TLSPolicy]{"required", TLSRequired, "with TLS or not at all; the certificate may be anyone's"},
		choice[TLSPolicy]{"verify", TLSVerify, "with TLS, and a certificate " + whom + " by an authority that the system trusts"},
	)
}

var listenAddress = textType("listen address", "listen addresses", `write address:port, such as "127.0.0.1:2525", "[::1]:2525", or ":25" for all addresses`,
	func(s string) (netip.AddrPort, *fault) {
		text := s
		if strings.HasPrefix(text, ":") {
			text = "[::]" + text
		}
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.AddrPort{}, faultf("", "%q is not an IP address and a port", clip(s))
		}
		return a, nil
	})

// maybeAddress is an address that need not be there.
func maybeAddress(s scalar[netip.AddrPort]) scalar[netip.AddrPort] {
	show := s.show
	s.show = func(a netip.AddrPort) string {
		if !a.IsValid() {
			return filePath.show("")
		}
		return show(a)
	}
	return s
}

var schedule = textType("schedule", "schedules", `write it as "1m 5m 15m 30m, every 1h until 5d"`,
	func(s string) (mail.Schedule, *fault) {
		v, err := mail.ParseSchedule(s)
		if err != nil {
			what, _, _ := strings.Cut(err.Error(), ": write it as") // which is the hint
			return mail.Schedule{}, &fault{message: what}
		}
		return v, nil
	})

// maxName bounds the name of a listener: it stands in every log line.
const maxName = 32

var plainName = textType("name", "names", "write up to 32 of the characters a-z, 0-9, hyphen and underscore",
	func(s string) (string, *fault) {
		other := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}
		if s == "" || len(s) > maxName || strings.ContainsFunc(s, other) {
			return "", faultf("", "%q is not a name", clip(s))
		}
		return s, nil
	})

// maxRuleName bounds the name of a handler: it stands in facts.
const maxRuleName = 64

var ruleName = textType("name", "names", "write up to 64 characters without control characters, such as \"no-yahoo\"",
	func(s string) (string, *fault) {
		other := func(r rune) bool { return !unicode.IsPrint(r) }
		if s == "" || utf8.RuneCountInString(s) > maxRuleName || strings.ContainsFunc(s, other) || strings.TrimSpace(s) != s {
			return "", faultf("", "%q is not the name of a handler", clip(s))
		}
		return s, nil
	})

var fieldName = textType("header field name", "header field names", `write the name alone, such as "Return-Path"`,
	func(s string) (string, *fault) {
		// RFC 5322 3.6.8: printable ASCII without the colon.
		other := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
		if s == "" || strings.ContainsFunc(s, other) {
			return "", faultf("", "%q is not the name of a header field", clip(s))
		}
		return s, nil
	})

var filePath = textType("path", "paths", `write the path of a file, such as "/var/lib/postern"`,
	func(s string) (string, *fault) {
		if s == "" || strings.ContainsRune(s, 0) {
			return "", faultf("", "%q is not a path", clip(s))
		}
		return filepath.Clean(s), nil
	})

// file is a setting that is a path. A relative one is taken from the
// directory of the file it stands in.
func file(field func(fields) *string) value {
	v := one(filePath, field, "")
	read := v.read
	v.read = func(n node, f fields, report reportFunc) {
		read(n, f, report)
		if p := field(f); *p != "" {
			*p = inDir(f.dir, *p)
		}
	}
	return v
}

// patternsHere is a setting that names files by patterns. Relative ones are taken from
// the directory of the file it stands in.
func patternsHere(field func(fields) *[]string) value {
	v := list(pattern, field)
	read := v.read
	v.read = func(n node, f fields, report reportFunc) {
		read(n, f, report)
		for i, p := range *field(f) {
			(*field(f))[i] = inDir(f.dir, p)
		}
	}
	return v
}

package alignment

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/dkim"
	"postern/internal/dns"
)

// longRecord is the length from which a record does not fit a small answer of DNS (RFC 1035
// 4.2.1: 512 octets, with names and counts): some resolvers and verifiers fail with it.
const longRecord = 450

// key compares a key with its record.
func (c Checker) key(ctx context.Context, r *Alignment, e *dkim.Entry) {
	name := e.Name()
	if e.Err != nil {
		r.find(Problem, "see postern dkim key list", "the key %s cannot be used: %v", name, e.Err)
		return
	}
	if e.Kind == dkim.RSA && e.Bits() < dkim.DefaultBits {
		r.find(Warning, "postern dkim rotate "+e.Domain, "the key %s has %d bits, and verifiers may refuse less than %d (RFC 8301 3.2)", name, e.Bits(), dkim.DefaultBits)
	}
	level := Problem // mail that is signed by it will be taken for unsigned, or forged
	if e.State == dkim.Waiting {
		level = Note
	}
	hint := fmt.Sprintf("publish what `postern dkim record %s` shows", e.Domain)
	texts, err := c.Resolver.LookupText(ctx, name)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		r.find(level, hint, "the key %s (%s) has no record in DNS%s", name, e.State, c.alias(ctx, name))
		return
	case err != nil:
		r.find(Warning, "ask again later", "the record %s could not be looked up: %v", name, err)
		return
	case len(texts) > 1:
		r.find(level, "leave one", "there are %d TXT records at %s, of which a verifier takes any (RFC 6376 3.6.2.2)", len(texts), name)
		return
	}
	record, err := dkim.ParseRecord(texts[0])
	switch {
	case err != nil:
		r.find(level, hint, "the record %s is wrong%s: %v", name, c.alias(ctx, name), err)
	case record.Public == nil:
		r.find(level, hint, "the key %s is revoked: its record has an empty p=%s", name, c.alias(ctx, name))
	case !record.Matches(&e.Key):
		r.find(level, hint, "the record %s is that of another key%s", name, c.alias(ctx, name))
	default:
		c.flags(r, name, record)
		if len(texts[0]) > longRecord {
			r.find(Warning, "2048 bits are enough", "the record %s has %d octets: some resolvers lose what does not fit 512", name, len(texts[0]))
		}
	}
}

// flags looks at what a record says beside the key.
func (c Checker) flags(r *Alignment, name string, record *dkim.Record) {
	if record.Testing {
		r.find(Warning, "take y out of t= when all is well", "the record %s says that signatures are only tried out (t=y): verifiers may take no notice of them", name)
	}
	if !record.SHA256 {
		r.find(Problem, "add sha256 to h=, or leave it out", "the record %s does not allow SHA-256 (h=)", name)
	}
	if !record.Email {
		r.find(Problem, "write s=email, or leave it out", "the record %s is not for mail (s=)", name)
	}
}

// alias says where a name leads, if it is an alias: what counts is the record there.
func (c Checker) alias(ctx context.Context, name string) string {
	target, err := c.Resolver.LookupAlias(ctx, name)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (it is an alias of %s, CNAME: what stands there counts)", strings.TrimSuffix(target, "."))
}

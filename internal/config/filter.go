package config

// Filter is one table [[filter]], as it is written: what its patterns mean, package
// policy says.
type Filter struct {
	Placed

	Name      string // unique
	Listeners []Text // none: all
	// What is looked for; at least one of these, or Unreadable is UnreadableMatches.
	Originator, Subject, Attachment, Type []Text

	Match      FilterMatch
	Unreadable Unreadable
	Then       FilterThen
	Steps      []Step // in place of Then, if there are any
}

// FilterMatch says how much of what a filter looks for must be there.
type FilterMatch string

// The ways to match.
const (
	MatchAny FilterMatch = "any"
	MatchAll FilterMatch = "all"
)

// Unreadable is what a filter does with a message that cannot be read with certainty.
type Unreadable string

// What a filter does with it.
const (
	UnreadableKept    Unreadable = "keep"   // keeps it, if it may be one that the filter looks for
	UnreadableMatches Unreadable = "match"  // it is what the filter looks for
	UnreadableIgnored Unreadable = "ignore" // goes by what could be read
)

// FilterThen is what becomes of a message that matches.
type FilterThen string

// What becomes of it.
const (
	ThenKeep    FilterThen = "keep"
	ThenDiscard FilterThen = "discard"
)

// checkFilters wants filters that look for something.
func (d *decoder) checkFilters() {
	for _, t := range d.tables["filter"] {
		looks := t.fields.filter.Unreadable == UnreadableMatches
		for _, key := range []string{"originator", "subject", "attachment", "type"} {
			_, given := t.given[key]
			looks = looks || given
		}
		if !looks {
			d.fault(t.at, "filter", faultf(`set originator, subject, attachment or type, or unreadable = "match"`, "looks for nothing"))
		}
	}
}

// Rate is one table [[rate]].
type Rate struct {
	Placed

	Name      string // unique
	Listeners []Text // none: all
	Limit     Text   // as package limit reads it
	Per       RatePer
	Over      RateOver
	Exempt    []Text // networks, and lists of them
}

// RatePer is what a rate is counted for apart.
type RatePer string

// What a rate is counted for.
const (
	PerClient   RatePer = "client"
	PerNetwork  RatePer = "network"
	PerListener RatePer = "listener"
	PerSender   RatePer = "sender"
)

// RateOver is what is done with what is over a rate.
type RateOver string

// What is done with it.
const (
	OverDefer  RateOver = "defer"
	OverReject RateOver = "reject"
	OverHold   RateOver = "hold"
)

// Verify says of which clients the sender is verified.
type Verify string

// The clients whose senders are verified.
const (
	VerifyOff      Verify = "off"
	VerifyUnlisted Verify = "unlisted" // all but those in trust
	VerifyAll      Verify = "all"
	VerifyAccount  Verify = "account" // of those with an account, which must be the owner
)

// VerifyAction is what is done about a sender that is not among the known ones.
type VerifyAction string

// What is done about it.
const (
	VerifyReject  VerifyAction = "reject"
	VerifyRewrite VerifyAction = "rewrite"
)

// checkVerify wants to know the senders that are verified, and what stands in the
// place of the others.
func (d *decoder) checkVerify(t *table) {
	l := t.fields.listener
	verifies := false
	for key, is := range map[string]Verify{"verify_sender": l.VerifySender, "verify_from": l.VerifyFrom} {
		if is == VerifyOff {
			continue
		}
		if is == VerifyAccount {
			continue // who it is, the directory knows
		}
		verifies = true
		if _, given := t.given["sender_addresses"]; !given && !d.meant["listener.sender_addresses"] {
			d.fault(t.given[key].key, "listener."+key, faultf(`name the senders in sender_addresses, such as ["*@example.com"]`,
				"is %q, but sender_addresses names nobody", is))
		}
	}
	action, hasAction := t.given["verify_action"]
	rewrite, hasRewrite := t.given["verify_rewrite"]
	switch {
	case hasAction && l.VerifyAction == VerifyRewrite && !hasRewrite && !d.meant["listener.verify_rewrite"]:
		d.fault(action.value, "listener.verify_action", faultf("set verify_rewrite", "is %q, but verify_rewrite does not say to which address", l.VerifyAction))
	case hasRewrite && !l.VerifyRewrite.IsASCII():
		d.fault(rewrite.value, "listener.verify_rewrite", faultf("write an address in US-ASCII, with a domain as DNS has it", "%q cannot stand in the header of every message", l.VerifyRewrite))
	case hasRewrite && l.VerifyAction != VerifyRewrite:
		d.fault(rewrite.key, "listener.verify_rewrite", advicef(`set verify_action to "rewrite"`, "does nothing, because verify_action is %q", l.VerifyAction))
	}
	if addresses, is := t.given["sender_addresses"]; is && !verifies {
		d.fault(addresses.key, "listener.sender_addresses", advicef("set verify_sender or verify_from", "does nothing, because neither sender nor From is verified"))
	}
}

// wordOrSteps is a setting that is a word, or a list of steps. hasSteps says which.
func wordOrSteps(word, steps value, hasSteps func(fields) bool) value {
	v := word
	v.kind = "word or steps"
	v.read = func(n node, f fields, report reportFunc) {
		if n.kind == nodeList {
			steps.read(n, f, report)
			return
		}
		word.read(n, f, func(at int, wrong *fault) {
			wrong.hint += ", or a list of steps"
			report(at, wrong)
		})
	}
	v.reset = func(f fields) { word.reset(f); steps.reset(f) }
	v.show = func(f fields) Value {
		if hasSteps(f) {
			return steps.show(f)
		}
		return word.show(f)
	}
	v.copy = func(from, to fields) { word.copy(from, to); steps.copy(from, to) }
	return v
}

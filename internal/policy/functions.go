package policy

import (
	"net/netip"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"
)

// function is a row of the table of functions, those of our own.
type function struct {
	name, form string
	text       string
}

// functions are what conditions can call besides what CEL has.
var functions = []function{
	{"listed", `listed("partners", client.address)`, "Whether a value is on a list of the configuration. The name stands in quotes; that there is such a list is checked when the configuration is."},
	{"in_network", `in_network(client.address, "10.0.0.0/8")`, "Whether an IP address is in a network. The network stands in quotes."},
	{"domain", "domain(smtp.mail.from)", "The domain of an address, in lower case and as DNS has it (`xn--`); empty for the null sender."},
	{"header", `header("Subject")`, "The decoded value of the first field of that name, in any case; empty when there is none. At `data`."},
	{"lower", "lower(message.subject)", "Text in lower case."},
	{likeCall, `like(message.attachments, ["*.vbs", "*.exe"])`, "Whether a text, or one of a list, has the form of one of these patterns, as those of [filters](#filters): `*` is one or more characters, `?` exactly one. The patterns stand in quotes."},
	{addressCall, `address_like(message.from, "*@example.com")`, "Whether an address, or one of a list, has the form of one of these patterns, as those of [senders](#patterns): `*` is any characters or none. The patterns stand in quotes."},
}

// headerCall is what header(…) becomes: a call that has the header as well.
const headerCall = "@header"

// functionOptions declares the functions.
func functionOptions(lists Lists) []cel.EnvOption {
	text, boolean := cel.StringType, cel.BoolType
	return []cel.EnvOption{
		cel.Function("listed", cel.Overload("listed_string_string", []*cel.Type{text, text}, boolean,
			cel.BinaryBinding(func(name, value ref.Val) ref.Val {
				return types.Bool(lists != nil && lists.Contains(string(name.(types.String)), string(value.(types.String))))
			}))),
		cel.Function("in_network", cel.Overload("in_network_string_string", []*cel.Type{text, text}, boolean,
			cel.BinaryBinding(func(address, network ref.Val) ref.Val {
				return types.Bool(inNetwork(string(address.(types.String)), string(network.(types.String))))
			}))),
		cel.Function("domain", cel.Overload("domain_string", []*cel.Type{text}, text,
			cel.UnaryBinding(func(address ref.Val) ref.Val { return types.String(domainOf(string(address.(types.String)))) }))),
		cel.Function("lower", cel.Overload("lower_string", []*cel.Type{text}, text,
			cel.UnaryBinding(func(s ref.Val) ref.Val { return types.String(strings.ToLower(string(s.(types.String)))) }))),
		cel.Function(headerCall, cel.Overload("header_map_string", []*cel.Type{headerMap, text}, text,
			cel.BinaryBinding(func(header, name ref.Val) ref.Val { return firstField(header.(traits.Mapper), name.(types.String)) }))),
		cel.Macros(cel.GlobalMacro("header", 1, func(eh parser.ExprHelper, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			return eh.NewCall(headerCall, eh.NewIdent("message.header"), args[0]), nil
		})),
	}
}

// firstField returns the first value of a field in a header, which may be empty.
func firstField(header traits.Mapper, name types.String) ref.Val {
	values, found := header.Find(types.String(strings.ToLower(string(name))))
	if !found {
		return types.String("")
	}
	list, isList := values.(traits.Lister)
	if !isList || list.Size() == types.IntZero {
		return types.String("")
	}
	return list.Get(types.IntZero)
}

func inNetwork(address, network string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	p, err := parseNetwork(network)
	return err == nil && p.Contains(a.Unmap().WithZone(""))
}

// parseNetwork reads a network, or one address.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

func domainOf(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return ""
	}
	return asciiDomain(address[at+1:])
}

// costs are what functions of our own cost that do more than a comparison does: a
// look at ten octets is 1, as with those of CEL.
func costs() cel.ProgramOption {
	perOctet := func(args []ref.Val, _ ref.Val) *uint64 {
		text, _ := args[len(args)-1].(types.String)
		cost := uint64(len(text)/10) + 1
		return &cost
	}
	options := append(patternCosts(), cost.OverloadTracker("lower_string", perOctet), cost.OverloadTracker("domain_string", perOctet),
		cost.OverloadTracker("listed_string_string", func(args []ref.Val, _ ref.Val) *uint64 {
			cost := *perOctet(args, nil) + listCost
			return &cost
		}))
	return cel.CostTrackerOptions(options...)
}

// listCost is what a look at a list costs beside the length of the value: the most
// steps that one of patterns can take.
const listCost = 1000

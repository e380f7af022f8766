package policy

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"postern/internal/mail"
)

// The functions that compare with patterns, each with those of its own kind.
const (
	likeCall    = "like"
	addressCall = "address_like"
)

func takesPatterns(function string) bool { return function == likeCall || function == addressCall }

// patternFunctions declares them: for a text or a list of texts, and a pattern or a
// list of patterns.
func (e *expressions) patternFunctions() []cel.EnvOption {
	matchers := map[string]func(pattern, text string) bool{likeCall: e.likeWildcard, addressCall: e.likeAddress}
	var options []cel.EnvOption
	for _, name := range []string{likeCall, addressCall} {
		match := matchers[name]
		compare := cel.BinaryBinding(func(values, patterns ref.Val) ref.Val {
			return types.Bool(anyText(values, func(text string) bool {
				return anyText(patterns, func(pattern string) bool { return match(pattern, text) })
			}))
		})
		var overloads []cel.FunctionOpt
		for _, of := range []*cel.Type{cel.StringType, textList} {
			for _, with := range []*cel.Type{cel.StringType, textList} {
				overloads = append(overloads, cel.Overload(overloadOf(name, of, with), []*cel.Type{of, with}, cel.BoolType, compare))
			}
		}
		options = append(options, cel.Function(name, overloads...))
	}
	return options
}

func overloadOf(name string, of, with *cel.Type) string {
	return name + "_" + of.TypeName() + "_" + with.TypeName()
}

// patternCosts are what they cost: each pattern looks at the whole of each text.
func patternCosts() []cost.TrackerOption {
	each := func(args []ref.Val, _ ref.Val) *uint64 {
		var octets, patterns uint64
		anyText(args[0], func(s string) bool { octets += uint64(len(s)/10) + 1; return false })
		anyText(args[1], func(string) bool { patterns++; return false })
		cost := octets * patterns
		return &cost
	}
	var options []cost.TrackerOption
	for _, name := range []string{likeCall, addressCall} {
		for _, of := range []*cel.Type{cel.StringType, textList} {
			for _, with := range []*cel.Type{cel.StringType, textList} {
				options = append(options, cost.OverloadTracker(overloadOf(name, of, with), each))
			}
		}
	}
	return options
}

// anyText reports whether something is true of a text, or of one of a list.
func anyText(v ref.Val, is func(string) bool) bool {
	list, isList := v.(traits.Lister)
	if !isList {
		text, _ := v.Value().(string)
		return is(text)
	}
	for it := list.Iterator(); it.HasNext() == types.True; {
		if text, _ := it.Next().Value().(string); is(text) {
			return true
		}
	}
	return false
}

// readPattern reads a pattern that an expression names, for when it is compared.
func (e *expressions) readPattern(function, text string) mistake {
	if function == addressCall {
		p, wrong := readPattern(text)
		if wrong != nil {
			return *wrong
		}
		e.patterns[text] = p
		return mistake{}
	}
	w, wrong := readWildcard(text)
	e.wildcards[text] = w
	return wrong
}

// readWildcard reads a pattern of a filter, or says what is wrong with it.
func readWildcard(text string) (mail.Wildcard, mistake) {
	if text == "" {
		return mail.Wildcard{}, mistakef(0, `write "*" for what has at least one character`, "is empty")
	}
	w, err := mail.ParseWildcard(text)
	if err != nil {
		return w, mistakef(0, "", "%v", err)
	}
	return w, mistake{}
}

func (e *expressions) likeWildcard(pattern, text string) bool {
	w, known := e.wildcards[pattern]
	return known && w.Match(text)
}

// likeAddress compares an address. What is none has the form of no pattern but "*".
func (e *expressions) likeAddress(pattern, text string) bool {
	p, known := e.patterns[pattern]
	if !known {
		return false
	}
	if text == "" || text == nullSender {
		null := subjectOf(mail.Address{})
		return p.match(&null)
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return p.isAny()
	}
	s := subjectOf(a)
	return p.match(&s)
}

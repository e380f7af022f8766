package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types/ref"

	"postern/internal/config"
	"postern/internal/mail"
)

// Bounds of expressions. What costs more at run time than maxCost, in the units of
// CEL, is not worked out: a comparison is 1, a look at ten octets is 1.
const (
	maxCost  = 500_000
	maxDepth = 50
	maxLoops = 2 // nested in each other
)

// expressions compiles expressions, at each command with what is known there.
type expressions struct {
	lists        Lists
	custom       map[string]bool // attributes that steps set
	environments map[config.Command]*cel.Env
	// The patterns that expressions name, by their text. They do not change once the
	// engine is made.
	wildcards map[string]mail.Wildcard
	patterns  map[string]pattern
}

// expression is what a person wrote in CEL, ready to be worked out.
type expression struct {
	text    string
	kind    *cel.Type
	program cel.Program
	// uses are the attributes in it, in the order of their names.
	uses []string
}

func newExpressions(lists Lists, custom map[string]bool) (*expressions, error) {
	e := &expressions{lists: lists, custom: custom, environments: make(map[config.Command]*cel.Env),
		wildcards: make(map[string]mail.Wildcard), patterns: make(map[string]pattern)}
	base, err := cel.NewEnv(slices.Concat(functionOptions(lists), e.patternFunctions(), []cel.EnvOption{
		cel.ParserRecursionLimit(maxDepth),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(maxLoops)),
	})...)
	if err != nil {
		return nil, err
	}
	for _, at := range config.Commands {
		var variables []cel.EnvOption
		for i := range attributes {
			if a := &attributes[i]; a.known(at) {
				variables = append(variables, cel.Variable(a.name, a.kind))
			}
		}
		for name := range custom {
			variables = append(variables, cel.Variable(name, cel.StringType))
		}
		if e.environments[at], err = base.Extend(variables...); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// mistake is what is wrong at an octet of an expression, and what would be right.
type mistake struct {
	offset        int
	message, hint string
}

func mistakef(offset int, hint, format string, args ...any) mistake {
	return mistake{offset: offset, message: fmt.Sprintf(format, args...), hint: hint}
}

// compile checks an expression for a command. Without mistakes there is an
// expression; unbounded ones are of our own, and are not watched at run time.
func (e *expressions) compile(at config.Command, text string, bounded bool) (*expression, []mistake) {
	environment := e.environments[at]
	if strings.TrimSpace(text) == "" {
		return nil, []mistake{mistakef(0, "", "is empty")}
	}
	if !utf8.ValidString(text) {
		return nil, []mistake{mistakef(0, "", "is not UTF-8")}
	}
	checked, issues := environment.Compile(text)
	if issues != nil && issues.Err() != nil {
		return nil, e.mistakes(at, text, issues.Errors())
	}
	if wrong := e.checkCalls(text, checked); len(wrong) > 0 {
		return nil, wrong
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if bounded {
		options = append(options, cel.CostLimit(maxCost), costs())
	}
	program, err := environment.Program(checked, options...)
	if err != nil {
		return nil, []mistake{mistakef(0, "", "cannot be used: %v", err)}
	}
	return &expression{text: text, kind: checked.OutputType(), program: program, uses: e.uses(checked)}, nil
}

// uses returns the attributes that an expression names.
func (e *expressions) uses(checked *cel.Ast) []string {
	var names []string
	for _, r := range checked.NativeRep().ReferenceMap() {
		if (findAttribute(r.Name) != nil || e.custom[r.Name]) && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// mistakes says what CEL found wrong, in words for people. Of errors that follow
// from each other at one place the first is enough.
func (e *expressions) mistakes(at config.Command, text string, found []*common.Error) []mistake {
	var list []mistake
	for _, f := range found {
		m := e.mistake(at, text, f)
		if !slices.ContainsFunc(list, func(o mistake) bool { return o.offset == m.offset || isSyntax(o) && isSyntax(m) }) {
			list = append(list, m)
		}
	}
	return list
}

const notCEL = "is not an expression here: "

func isSyntax(m mistake) bool { return strings.HasPrefix(m.message, notCEL) }

func (e *expressions) mistake(at config.Command, text string, f *common.Error) mistake {
	offset := offsetOf(text, f.Location)
	message := f.Message
	if name, found := between(message, "undeclared reference to '", "'"); found {
		return e.unknown(at, text, offset, name)
	}
	if rest, found := strings.CutPrefix(message, "Syntax error: "); found {
		return syntaxMistake(offset, rest)
	}
	if operator, found := between(message, "found no matching overload for '", "'"); found {
		_, kinds, _ := strings.Cut(message, "applied to ")
		return mistakef(offset, overloadHint(operator), "%s cannot be used with %s", operatorText(operator), strings.Trim(kinds, "'"))
	}
	if strings.Contains(message, "invalid matches argument") {
		return mistakef(offset, "write a regular expression in the syntax of RE2", "is no regular expression")
	}
	if strings.Contains(message, "comprehension exceeds nesting limit") {
		return mistakef(offset, "", "loops are nested more than %d deep", maxLoops)
	}
	return mistakef(offset, "", "%s", message)
}

// syntaxMistake says what CEL's parser stumbled over.
func syntaxMistake(offset int, found string) mistake {
	if what, is := strings.CutPrefix(found, "token recognition error at: "); is {
		hint := ""
		if strings.HasPrefix(what, "'= ") || what == "'='" {
			hint = "write == to compare"
		}
		return mistakef(offset, hint, notCEL+"%s cannot stand there", what)
	}
	found, _, _ = strings.Cut(found, " expecting ")
	if what, is := strings.CutPrefix(found, "mismatched input "); is {
		found = strings.ReplaceAll(what, "'<EOF>'", "the end") + " is not expected there"
	}
	return mistakef(offset, `write it as 'smtp.mail.from == "joe@example.com" && message.size > 1000'`, notCEL+"%s", found)
}

func overloadHint(operator string) string {
	if operator == operators.Equals || operator == operators.NotEquals || operator == operators.Greater || operator == operators.Less {
		return "compare values of one type: text stands in quotes, numbers do not"
	}
	return ""
}

// operatorText names an operator or function as it is written.
func operatorText(name string) string {
	if name == headerCall {
		return "header"
	}
	if text, is := operators.FindReverse(name); is && text != "" {
		return text
	}
	return name
}

// unknown is the mistake of a name that there is not, or not here.
func (e *expressions) unknown(at config.Command, text string, offset int, name string) mistake {
	if at := offset - len(name); at >= 0 && text[at:offset] == name && strings.HasPrefix(text[offset:], "(") {
		return mistakef(at, config.DidYouMean(name, functionNames()), "there is no function %s", name)
	}
	if name == headerCall || name == "message.header" && at != config.AtData {
		return mistakef(offset, "use it in a handler at data", "the header is not known at %s", at)
	}
	start := offset
	for start > 0 && isNamePart(text[start-1]) {
		start--
	}
	end := start
	for end < len(text) && isNamePart(text[end]) {
		end++
	}
	full := strings.TrimRight(text[start:end], ".")
	if full == "authentication.subject.password" {
		return mistakef(start, "passwords are compared by the sources of accounts alone", "%s can be read by no condition and no text", full)
	}
	if a := findAttribute(full); a != nil {
		return mistakef(start, "it is known "+a.since(), "%s is not known at %s", full, at)
	}
	return mistakef(start, e.nearAttribute(full), "there is no attribute %s", full)
}

// nearAttribute is the hint for the name of no attribute: one that is near, or one
// whose last part is.
func (e *expressions) nearAttribute(name string) string {
	names := slices.Concat(attributeNames(), slices.Sorted(maps.Keys(e.custom)))
	if hint := config.DidYouMean(name, names); hint != "" {
		return hint
	}
	for _, n := range names {
		if last := n[strings.LastIndexByte(n, '.')+1:]; config.DidYouMean(name, []string{last}) != "" {
			return config.DidYouMean(n, []string{n})
		}
	}
	return ""
}

func functionNames() []string {
	names := []string{"contains", "startsWith", "endsWith", "matches", "size", "all", "exists", "exists_one", "filter", "map", "has", "int", "string", "timestamp", "duration"}
	for _, f := range functions {
		names = append(names, f.name)
	}
	return names
}

func isNamePart(c byte) bool {
	return c == '_' || c == '.' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// offsetOf returns the octet of a place in a text, of which CEL counts lines from 1
// and characters from 0.
func offsetOf(text string, at common.Location) int {
	start := 0
	for line := 1; line < at.Line(); line++ {
		next := strings.IndexByte(text[start:], '\n')
		if next < 0 {
			break
		}
		start += next + 1
	}
	offset := start
	for range at.Column() {
		_, n := utf8.DecodeRuneInString(text[offset:])
		offset += n
	}
	return offset
}

func between(s, before, after string) (string, bool) {
	_, s, found := strings.Cut(s, before)
	if !found {
		return "", false
	}
	s, _, found = strings.Cut(s, after)
	return s, found
}

// checkCalls checks the arguments that must be in quotes, because they are looked
// at before any mail comes: the names of lists, networks, regular expressions.
func (e *expressions) checkCalls(text string, checked *cel.Ast) []mistake {
	native := checked.NativeRep()
	var wrong []mistake
	calls := ast.MatchDescendants(ast.NavigateAST(native), ast.KindMatcher(ast.CallKind))
	for _, node := range calls {
		call := node.AsCall()
		argument, check := e.literalArgument(call)
		if check == nil {
			continue
		}
		for _, argument := range literals(call, argument) {
			at := offsetOf(text, native.SourceInfo().GetStartLocation(argument.ID()))
			if argument.Kind() != ast.LiteralKind {
				wrong = append(wrong, mistakef(at, "write it in quotes", "the argument of %s is not a text", operatorText(call.FunctionName())))
				continue
			}
			value, _ := argument.AsLiteral().Value().(string)
			if m := check(value); m.message != "" {
				m.offset = at
				wrong = append(wrong, m)
			}
		}
	}
	return wrong
}

// literals are the texts that an argument consists of: itself, or, of functions that
// take several patterns, those of a list.
func literals(call ast.CallExpr, argument ast.Expr) []ast.Expr {
	if argument.Kind() == ast.ListKind && takesPatterns(call.FunctionName()) {
		return argument.AsList().Elements()
	}
	return []ast.Expr{argument}
}

// literalArgument returns the argument of a call that must be a text, and what is
// to be checked of it; a nil check for calls without one.
func (e *expressions) literalArgument(call ast.CallExpr) (ast.Expr, func(string) mistake) {
	args := call.Args()
	switch {
	case call.FunctionName() == overloads.Matches && len(args) > 0:
		return args[len(args)-1], func(string) mistake { return mistake{} } // CEL has checked it
	case call.FunctionName() == "in_network" && len(args) == 2:
		return args[1], func(network string) mistake {
			if _, err := parseNetwork(network); err != nil {
				return mistakef(0, `write it as "10.0.0.0/8"`, "%q is not a network", network)
			}
			return mistake{}
		}
	case takesPatterns(call.FunctionName()) && len(args) == 2:
		return args[1], func(text string) mistake { return e.readPattern(call.FunctionName(), text) }
	case call.FunctionName() == "listed" && len(args) == 2:
		return args[0], func(name string) mistake { return e.checkList(name, args[1]) }
	}
	return nil, nil
}

// checkList checks that there is a list, and that it is one for what is looked up.
func (e *expressions) checkList(name string, value ast.Expr) mistake {
	if e.lists == nil || e.lists.Kind(name) == "" {
		var names []string
		if e.lists != nil {
			names = e.lists.Names()
		}
		return mistakef(0, config.DidYouMean(name, names), "there is no list %q", name)
	}
	kind := e.lists.Kind(name)
	isClient := value.Kind() == ast.IdentKind && value.AsIdent() == "client.address"
	if isClient != (kind == "networks") && value.Kind() == ast.IdentKind {
		return mistakef(0, "", "%s cannot be on the list %q, which has %s", value.AsIdent(), name, kind)
	}
	return mistake{}
}

var errNotBoolean = errors.New("the condition is neither true nor false")

// evaluate works an expression out.
func (x *expression) evaluate(s *Session) (ref.Val, error) {
	value, _, err := x.program.Eval((*values)(s))
	return value, err
}

// holds works a condition out.
func (x *expression) holds(s *Session) (bool, error) {
	value, err := x.evaluate(s)
	if err != nil {
		return false, err
	}
	is, ok := value.Value().(bool)
	if !ok {
		return false, errNotBoolean
	}
	return is, nil
}

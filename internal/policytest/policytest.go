// Package policytest runs the cases that an administrator writes about his own
// policy: a message each, and what is to become of it. A case is walked as `postern
// explain` does it (package explain), so that nothing is sent and nothing counted.
//
// A file of cases is TOML:
//
//	[[case]]
//	name = "nothing to Yahoo"
//	from = "joe@example.com"
//	to = ["dan@yahoo.com", "ann@example.org"]
//	client = "192.0.2.7"
//	expect = ["dan@yahoo.com: 550 5.7.1", "ann@example.org: accept", "ann@example.org: header X-Via = gate"]
//
// What is wrong in it gives *config.Errors, with file, line and column.
package policytest

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/mail"
)

// Result is what came of a file of cases.
type Result struct {
	File     string    `json:"file"`
	Cases    int       `json:"cases"`
	Failures []Failure `json:"failures"`
}

// Failure is an expectation that was not met.
type Failure struct {
	Case string `json:"case"`
	// Place is that of the expectation.
	Place mail.Place `json:"place"`
	// Recipient is whom it is about.
	Recipient string `json:"recipient"`
	Expected  string `json:"expected"`
	Happened  string `json:"happened"`
	// Trail is the decisive step of policy; empty when there was none.
	Trail string `json:"trail,omitempty"`

	refused bool
}

// String returns the failure in one line.
func (f *Failure) String() string { return f.Place.String() + ": " + f.words() }

// Problem returns the failure as something that is wrong with a configuration.
func (f *Failure) Problem() config.Problem {
	return config.Problem{Place: f.Place, Key: "case.expect", Message: f.words()}
}

// words say what is not as expected, and why: a refusal has said that itself.
func (f *Failure) words() string {
	s := fmt.Sprintf("%s: <%s>: expected %s, but it is %s", f.Case, f.Recipient, f.Expected, f.Happened)
	if f.Trail != "" && !f.refused {
		s += " [" + f.Trail + "]"
	}
	return s
}

// Run runs the cases of a file. It fails when the file is wrong, and with the error of
// ctx; cases that fail are no error, but in the Result.
func Run(ctx context.Context, s *explain.Server, path string) (Result, error) {
	result := Result{File: path, Failures: []Failure{}}
	cases, err := read(path)
	if err != nil {
		return result, err
	}
	var problems []config.Problem
	for i := range cases {
		if err := ctx.Err(); err != nil {
			return result, err
		}
		c := &cases[i]
		report, err := s.Walk(ctx, &c.mail)
		if err != nil {
			problems = append(problems, config.Problem{Place: c.place, Key: "case", Message: c.name + ": " + err.Error(), Cause: err})
			continue
		}
		result.Cases++
		result.Failures = append(result.Failures, c.judge(report)...)
	}
	if len(problems) > 0 {
		return result, &config.Errors{Problems: problems}
	}
	return result, nil
}

// judge compares a report with what is expected.
func (c *testCase) judge(r *explain.Report) []Failure {
	var failures []Failure
	for i := range r.Recipients {
		to := &r.Recipients[i]
		for j := range c.expected {
			e := &c.expected[j]
			if e.about != "" && e.about != to.Address || e.met(r, to) {
				continue
			}
			failures = append(failures, Failure{
				Case: c.name, Place: e.place, Recipient: to.Address, Expected: e.text,
				Happened: e.happened(to), Trail: r.Decisive(to), refused: to.Outcome == explain.Refused,
			})
		}
	}
	return failures
}

// errNoCases says that a file has nothing to run.
var errNoCases = errors.New("has no [[case]]")

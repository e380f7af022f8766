package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/policytest"
)

// PolicyTests returns the files of cases that policy_tests names, in the order of
// their names, each once. A path without a pattern must exist: who reads the file
// tells if it does not.
func PolicyTests(c *config.Config) ([]string, error) {
	var files []string
	for _, pattern := range c.PolicyTests {
		names := []string{pattern}
		if strings.ContainsAny(filepath.Base(pattern), `*?[\`) {
			var err error
			if names, err = filepath.Glob(pattern); err != nil {
				return nil, c.Wrong("policy_tests", fmt.Errorf("%s: %w", pattern, err))
			}
		}
		for _, name := range names {
			if !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
	}
	return files, nil
}

// casesTime bounds how long the cases of a configuration may take.
const casesTime = 30 * time.Second

// runCases runs the cases of policy_tests with the records of a directory, and returns what of them is not as
// expected, or cannot be run.
func runCases(c *config.Config, r *directory.Directory) []config.Problem {
	ctx, cancel := context.WithTimeout(context.Background(), casesTime)
	defer cancel()
	files, err := PolicyTests(c)
	if err != nil {
		return problemsOf(err)
	}
	if len(files) == 0 {
		return nil
	}
	server, err := explainerOf(c, r, false)
	if err != nil {
		return nil // check has told of it
	}
	var problems []config.Problem
	for _, file := range files {
		result, err := policytest.Run(ctx, server, file)
		if wrong, is := errors.AsType[*config.Errors](err); is {
			problems = append(problems, wrong.Problems...)
		} else if err != nil {
			problems = append(problems, c.Wrong("policy_tests", err))
		}
		for i := range result.Failures {
			problems = append(problems, result.Failures[i].Problem())
		}
	}
	return problems
}

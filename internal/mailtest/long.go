package mailtest

import (
	"os"
	"strconv"
	"testing"
)

// Number returns the number in an environment variable, which says how often a
// test is to do what it does; byDefault when it is not set. The test fails when
// it is anything but a number from 1 on.
func Number(t testing.TB, variable string, byDefault int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return byDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: write a number from 1 on", variable, text)
	}
	return n
}

// Long reports whether tests are to take their long form: LONG is set in the
// environment.
func Long() bool { return os.Getenv("LONG") != "" }

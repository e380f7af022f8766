package mailtest

import (
	"os"
	"testing"
)

// KeptDir makes a directory that goes with the test when it has passed, and stays behind, for
// whoever wants to know why, when it has failed. name is of the test's package.
func KeptDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log, queue and journal are left in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

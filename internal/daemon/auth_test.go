package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestLoginSecret: it is kept; one that a crash or a full disk has left half written keeps
// no server from starting, and one that is another file is not written over.
func TestLoginSecret(t *testing.T) {
	for _, left := range []int{-1, 0, 5, secretLength} {
		file := filepath.Join(t.TempDir(), secretName)
		if left >= 0 {
			if err := os.WriteFile(file, make([]byte, left), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		made, err := loginSecret(file)
		again, err2 := loginSecret(file)
		if err != nil || err2 != nil || len(made) != secretLength || !bytes.Equal(made, again) {
			t.Errorf("with %d octets: %d, then %d; %v, %v", left, len(made), len(again), err, err2)
		}
		if left < secretLength && bytes.Equal(made, make([]byte, secretLength)) {
			t.Errorf("with %d octets: it is no secret", left)
		}
	}
	file := filepath.Join(t.TempDir(), secretName)
	if err := os.WriteFile(file, make([]byte, secretLength+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loginSecret(file); err == nil {
		t.Error("another file is written over")
	}
}

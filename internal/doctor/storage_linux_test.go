package doctor

import (
	"strings"
	"testing"
)

// Every Linux has a file system in memory at one of these places.
func TestDangerOf(t *testing.T) {
	if got := dangerOf("/dev/shm") + dangerOf("/dev"); !strings.Contains(got, "in memory (tmpfs)") {
		t.Errorf("/dev/shm and /dev: %q", got)
	}
	if got := dangerOf("/proc"); got != "" {
		t.Errorf("/proc: %q", got)
	}
	if got := dangerOf("/none"); got != "" {
		t.Errorf("nothing: %q", got)
	}
}

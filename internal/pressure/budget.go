package pressure

import (
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// MinBudget is the least that the server can work with, in octets: the
// database alone keeps up to 64 MiB to read from and several times 32 MiB to
// write.
const MinBudget = 256 << 20

// DefaultBudget returns half of the memory that this process can have, in
// octets: the machine's, or what its control group allows if that is less. It
// returns MinBudget where that is more, and where neither can be read.
func DefaultBudget() int64 { return budget(os.DirFS("/")) }

func budget(root fs.FS) int64 {
	return max(lesser(machineMemory(root), groupLimit(root))/2, MinBudget)
}

// lesser returns the less of two limits, of which 0 is none.
func lesser(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// machineMemory returns the machine's memory in octets; 0 if it cannot be
// read (proc_meminfo(5)).
func machineMemory(root fs.FS) int64 {
	text, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
			return number(fields[1]) << 10
		}
	}
	return 0
}

// groupLimit returns the least limit of the control groups that the process is
// in (cgroups(7)); 0 if there is none.
func groupLimit(root fs.FS) int64 {
	var least int64
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		for _, file := range limitFiles(strings.TrimSpace(line)) {
			text, _ := fs.ReadFile(root, file)
			least = lesser(least, number(strings.TrimSpace(string(text))))
		}
	}
	return least
}

// limitFiles returns where the limits of a group may stand: its own, and those
// of the groups above it, which hold for it too. In a container its name may
// be the one outside, and only the topmost directory be there.
func limitFiles(line string) []string {
	_, rest, _ := strings.Cut(line, ":")
	controllers, group, found := strings.Cut(rest, ":")
	top, file := "sys/fs/cgroup", "memory.max"
	switch {
	case !found:
		return nil
	case slices.Contains(strings.Split(controllers, ","), "memory"): // version 1
		top, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
	case controllers != "":
		return nil
	}
	var files []string
	for group = path.Clean("/" + group); group != "/"; group = path.Dir(group) {
		files = append(files, path.Join(top, group, file))
	}
	return append(files, path.Join(top, file))
}

// Descriptors returns how many files and sockets the process may have open at a
// time. The Go runtime has made the limit as high as it may be (RLIMIT_NOFILE,
// getrlimit(2)). It returns math.MaxInt32 where there is none, or none can be
// told.
func Descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// number returns a whole number, or 0 for what is none, such as "max".
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

package pressure

import (
	"math"

	"golang.org/x/sys/unix"
)

// statfs asks what a file system has free for this user.
func statfs(path string) (usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return usage{}, err
	}
	return usageOf(&st), nil
}

func usageOf(st *unix.Statfs_t) usage {
	u := usage{octets: math.MaxInt64, inodes: math.MaxInt64}
	if unit := uint64(max(st.Frsize, 1)); st.Bavail <= math.MaxInt64/unit {
		u.octets = int64(st.Bavail * unit)
	}
	if st.Files > 0 { // else they are made as needed
		u.inodes = int64(min(st.Ffree, math.MaxInt64))
	}
	return u
}

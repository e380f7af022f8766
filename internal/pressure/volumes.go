package pressure

import (
	"fmt"
	"math"
)

// usage is what a file system has free.
type usage struct {
	octets int64
	inodes int64 // math.MaxInt64 where they are not counted
}

// Free returns what the file system of a path has free for this user, in octets
// and in inodes; math.MaxInt64 inodes where they are made as needed. It fails
// as the system does, and where the system does not tell.
func Free(path string) (free, inodes int64, err error) {
	u, err := statfs(path)
	return u.octets, u.inodes, err
}

// volumes are the file systems of the directories.
type volumes struct {
	options *Options
	usage   func(path string) (usage, error)
	free    []volume // of the last look; those that could be measured
}

type volume struct {
	Directory
	usage
}

// measure asks the file systems. Not every one tells, and none does of a
// directory that is gone; the store will say what is wrong with that.
func (v *volumes) measure() {
	v.free = v.free[:0]
	for _, d := range v.options.Directories {
		u, err := v.usage(d.Path)
		if err != nil {
			v.options.Logger.Debug("free space cannot be measured", "directory", d.Path, "error", err)
			continue
		}
		v.free = append(v.free, volume{d, u})
	}
}

func (v *volumes) space() reading {
	have, where := v.least(func(u usage) int64 { return u.octets })
	if where == "" {
		return reading{}
	}
	least := v.options.Limits.MinFreeSpace
	return reading{judged(have, least), fmt.Sprintf("%s are free on the file system of %s; %s must be", octets(have), where, octets(least))}
}

func (v *volumes) inodes() reading {
	have, where := v.least(func(u usage) int64 { return u.inodes })
	if where == "" {
		return reading{}
	}
	least := v.options.Limits.MinFreeInodes
	return reading{judged(have, least), fmt.Sprintf("%d inodes are free on the file system of %s; %d must be", have, where, least)}
}

// least returns the smallest figure, and the directory that has it; "" when
// there is none.
func (v *volumes) least(figure func(usage) int64) (have int64, where string) {
	for _, d := range v.free {
		if n := figure(d.usage); where == "" || n < have {
			have, where = n, d.Path
		}
	}
	return have, where
}

// room is how large a message can be without making the disk short.
func (v *volumes) room() int64 {
	room := int64(math.MaxInt64)
	for _, d := range v.free {
		if d.Contents {
			room = min(room, max(0, d.octets-v.options.Limits.MinFreeSpace))
		}
	}
	return room
}

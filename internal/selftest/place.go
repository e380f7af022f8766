package selftest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// MinRoom is how many octets must be free for the test.
const MinRoom = 512 << 20

// Kind is what is behind a file system, as far as it matters here.
type Kind string

// The kinds of file systems.
const (
	Local   Kind = "local"
	Memory  Kind = "memory"
	Network Kind = "network" // or some other program that may do as it likes
)

// FileSystem is what a directory lies on.
type FileSystem struct {
	Name string `json:"name"` // such as ext4; a number where it is not known
	Kind Kind   `json:"kind"`
	Free int64  `json:"free"` // octets
}

// fileSystems are known by what statfs(2) says.
var fileSystems = map[uint32]FileSystem{
	unix.EXT4_SUPER_MAGIC:      {Name: "ext4", Kind: Local},
	unix.XFS_SUPER_MAGIC:       {Name: "xfs", Kind: Local},
	unix.BTRFS_SUPER_MAGIC:     {Name: "btrfs", Kind: Local},
	0x2fc12fc1:                 {Name: "zfs", Kind: Local},
	unix.F2FS_SUPER_MAGIC:      {Name: "f2fs", Kind: Local},
	unix.OVERLAYFS_SUPER_MAGIC: {Name: "overlay", Kind: Local},
	unix.TMPFS_MAGIC:           {Name: "tmpfs", Kind: Memory},
	unix.RAMFS_MAGIC:           {Name: "ramfs", Kind: Memory},
	unix.NFS_SUPER_MAGIC:       {Name: "nfs", Kind: Network},
	unix.SMB_SUPER_MAGIC:       {Name: "smb", Kind: Network},
	unix.CIFS_SUPER_MAGIC:      {Name: "cifs", Kind: Network},
	unix.SMB2_SUPER_MAGIC:      {Name: "smb2", Kind: Network},
	unix.CEPH_SUPER_MAGIC:      {Name: "ceph", Kind: Network},
	unix.V9FS_MAGIC:            {Name: "9p", Kind: Network},
	unix.FUSE_SUPER_MAGIC:      {Name: "fuse", Kind: Network},
}

// fileSystemOf names a file system by its number.
func fileSystemOf(number uint32) FileSystem {
	if f, known := fileSystems[number]; known {
		return f
	}
	return FileSystem{Name: fmt.Sprintf("unknown (%#x)", number), Kind: Local}
}

// examine looks at a directory, and refuses one that cannot be used. That it
// can be written to shows when that is done.
func examine(dir string) (FileSystem, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return FileSystem{}, fmt.Errorf("%s does not exist: make it, or name a directory on the disk that is meant", dir)
	case err != nil:
		return FileSystem{}, err
	case !info.IsDir():
		return FileSystem{}, fmt.Errorf("%s is not a directory", dir)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return FileSystem{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	f := fileSystemOf(uint32(stat.Type))
	f.Free = int64(stat.Bavail) * stat.Bsize
	return f, f.checkRoom(dir)
}

func (f FileSystem) checkRoom(dir string) error {
	if f.Free >= MinRoom {
		return nil
	}
	return fmt.Errorf("%s has %d MiB free, and the test takes up to %d", dir, f.Free>>20, MinRoom>>20)
}

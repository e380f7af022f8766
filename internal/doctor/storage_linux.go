package doctor

import "golang.org/x/sys/unix"

// errNotDirectory says that a part of a path is no directory.
const errNotDirectory = unix.ENOTDIR

// writable returns nil if this user can list and change a directory.
func writable(path string) error {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// unsafeVolumes are file systems that do not keep what was synced, by their
// magic number (statfs(2)).
var unsafeVolumes = map[int64]string{
	unix.TMPFS_MAGIC:           "a file system in memory (tmpfs): mail is gone when the machine stops",
	unix.RAMFS_MAGIC:           "a file system in memory (ramfs): mail is gone when the machine stops",
	unix.OVERLAYFS_SUPER_MAGIC: "the layer of a container (overlay): mail is gone with the container",
	unix.NFS_SUPER_MAGIC:       "another machine (NFS): its locks and syncs cannot be relied upon",
	unix.CIFS_SUPER_MAGIC:      "another machine (CIFS): its locks and syncs cannot be relied upon",
	unix.SMB2_SUPER_MAGIC:      "another machine (SMB): its locks and syncs cannot be relied upon",
	unix.V9FS_MAGIC:            "another machine (9P): its locks and syncs cannot be relied upon",
}

// dangerOf says why the file system of a path does not keep mail; "" if it
// does.
func dangerOf(path string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return ""
	}
	return unsafeVolumes[int64(uint32(st.Type))]
}

//go:build !linux

package doctor

import "syscall"

// errNotDirectory says that a part of a path is no directory.
const errNotDirectory = syscall.ENOTDIR

// writable cannot tell: the start will.
func writable(string) error { return nil }

// dangerOf knows no file system.
func dangerOf(string) string { return "" }

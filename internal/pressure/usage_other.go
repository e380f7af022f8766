//go:build !linux

package pressure

import "errors"

// statfs tells nothing: the store alone refuses what does not fit.
func statfs(string) (usage, error) { return usage{}, errors.ErrUnsupported }

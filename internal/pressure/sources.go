package pressure

import "runtime"

// sources are what the system is asked for. Tests have their own.
type sources struct {
	usage func(path string) (usage, error)
	live  func() liveness
	// collect collects garbage, so that live is of now.
	collect func()
}

func system() sources { return sources{usage: statfs, live: readLive, collect: runtime.GC} }

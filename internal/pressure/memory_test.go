package pressure

import (
	"runtime"
	"testing"
	"testing/fstest"
)

// TestUsed: since the last collection the account says what has changed.
func TestUsed(t *testing.T) {
	var live liveness
	var account int64
	m := memory{live: func() liveness { return live }, account: func() int64 { return account }}
	for i, c := range []struct {
		live    liveness
		account int64
		want    int64
	}{
		{liveness{}, 30, 30}, // before the first collection
		{liveness{100, 1}, 40, 100},
		{liveness{100, 1}, 70, 130},
		{liveness{100, 1}, 10, 70},
		{liveness{55, 2}, 10, 55},
	} {
		live, account = c.live, c.account
		if got := m.used(); got != c.want {
			t.Errorf("step %d: %d, want %d", i+1, got, c.want)
		}
	}
}

// TestStaleFigure: too little is not believed for ever; enough is.
func TestStaleFigure(t *testing.T) {
	collected := 0
	live := liveness{90, 1}
	m := memory{limits: &Limits{MaxMemory: 100}, account: func() int64 { return 0 }, live: func() liveness { return live }}
	m.collect = func() { collected++; live.cycle++ }
	for range staleLooks {
		m.read()
	}
	if collected != 0 {
		t.Errorf("%d collections within %d looks", collected, staleLooks)
	}
	if r := m.read(); collected != 1 || r.verdict != short {
		t.Errorf("%d collections after as many, %+v", collected, r)
	}
	for range staleLooks {
		live.octets = 10
		m.read()
	}
	if r := m.read(); collected != 1 || r.verdict != ample {
		t.Errorf("%d collections while there is enough, %+v", collected, r)
	}
	live.octets = 90 // a collection of the runtime's own
	live.cycle++
	for range staleLooks {
		m.read()
	}
	if collected != 1 {
		t.Errorf("%d collections, though the runtime had just made one", collected)
	}
}

// TestReadLive: the runtime knows the figures by these names.
func TestReadLive(t *testing.T) {
	before := readLive()
	held := make([]byte, 32*mib)
	runtime.GC()
	after := readLive()
	if after.cycle <= before.cycle || after.octets < int64(len(held)) {
		t.Errorf("%+v, then %+v", before, after)
	}
	runtime.KeepAlive(held)
}

func TestBudget(t *testing.T) {
	const gib = 1 << 30
	files := func(pairs ...string) fstest.MapFS {
		root := fstest.MapFS{}
		for i := 0; i < len(pairs); i += 2 {
			root[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
		}
		return root
	}
	const (
		info     = "proc/meminfo"
		eight    = "MemTotal:        8388608 kB\nMemFree:          123456 kB\n"
		group    = "proc/self/cgroup"
		second   = "0::/system.slice/postern.service\n"
		first    = "3:cpu,cpuacct:/other\n4:memory:/system.slice/postern.service\n"
		both     = "4:cpu,memory:/a\n0::/\n"
		slice    = "sys/fs/cgroup/system.slice/memory.max"
		service  = "sys/fs/cgroup/system.slice/postern.service/memory.max"
		service1 = "sys/fs/cgroup/memory/system.slice/postern.service/memory.limit_in_bytes"
		top1     = "sys/fs/cgroup/memory/memory.limit_in_bytes"
	)
	for name, c := range map[string]struct {
		root fstest.MapFS
		want int64
	}{
		"nothing can be read":     {files(), MinBudget},
		"the machine":             {files(info, eight), 4 * gib},
		"a small machine":         {files(info, "MemTotal: 262144 kB\n"), MinBudget},
		"no limit":                {files(info, eight, group, second, service, "max\n"), 4 * gib},
		"its own limit":           {files(info, eight, group, second, service, "2147483648\n", slice, "max\n"), gib},
		"a limit above it":        {files(info, eight, group, second, service, "2147483648\n", slice, "1073741824\n"), gib / 2},
		"a limit that is none":    {files(info, eight, group, first, service1, "9223372036854771712\n"), 4 * gib},
		"version 1":               {files(info, eight, group, first, service1, "2147483648\n"), gib},
		"version 1, a container":  {files(info, eight, group, first, top1, "2147483648\n"), gib},
		"joined controllers":      {files(info, eight, group, both, top1, "2147483648\n"), gib},
		"another controller":      {files(info, eight, group, "3:cpu:/a\n", "sys/fs/cgroup/memory.max", "2147483648\n"), 4 * gib},
		"a line that is none":     {files(info, eight, group, "x\n", "sys/fs/cgroup/memory.max", "2147483648\n"), 4 * gib},
		"only the group is known": {files(group, "0::/\n", "sys/fs/cgroup/memory.max", "2147483648\n"), gib},
	} {
		if got := budget(c.root); got != c.want {
			t.Errorf("%s: %d MiB, want %d MiB", name, got/mib, c.want/mib)
		}
	}
}

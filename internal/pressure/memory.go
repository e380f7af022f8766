package pressure

import (
	"fmt"
	"runtime/metrics"
)

// memory compares what is in use with the budget.
//
// What is in use is what the last garbage collection found alive, with the
// stacks, and what the store's account says has come or gone since. The heap's
// size itself would not do: it has the garbage in it, and comes near to the
// budget in good health.
type memory struct {
	limits  *Limits
	live    func() liveness
	account func() int64
	collect func() // collects garbage

	cycle uint64 // of the last collection that was seen
	then  int64  // the account at that time
	looks int    // since then
}

// staleLooks is how many looks a figure that says there is too little is
// believed. A server that refuses all mail allocates little: without this it
// could wait two minutes for the collection that shows how much is free.
const staleLooks = 30

// liveness is what the last garbage collection left.
type liveness struct {
	octets int64  // with the stacks
	cycle  uint64 // which one it was
}

func (m *memory) used() int64 {
	live, account := m.live(), m.account()
	m.looks++
	if live.cycle != m.cycle {
		m.cycle, m.then, m.looks = live.cycle, account, 0
	}
	return live.octets + account - m.then
}

// read wants at least a quarter of the budget to be free: the garbage
// collector needs room to work in, and works ever more often without.
func (m *memory) read() reading {
	used, budget := m.used(), m.limits.MaxMemory
	if m.looks >= staleLooks && judged(budget-used, budget/4) != ample {
		m.collect()
		used = m.used()
	}
	text := fmt.Sprintf("%s of memory are in use; the budget is %s, and a quarter of it must be free", octets(used), octets(budget))
	return reading{judged(budget-used, budget/4), text}
}

// readLive asks the runtime.
func readLive() liveness {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	return liveness{
		octets: int64(samples[0].Value.Uint64() + samples[1].Value.Uint64()),
		cycle:  samples[2].Value.Uint64(),
	}
}

package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc, 1/100 s on Linux (proc(5)).
const clockTick = 10 * time.Millisecond

// Usage is what /proc says of a process.
type Usage struct {
	parent int
	// cpu is its own time and that of the children it has waited for.
	cpu time.Duration
}

// parseStat reads /proc/PID/stat (proc(5)). The second field is a name in
// parentheses that may contain anything.
func parseStat(stat string) (Usage, error) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 15 {
		return Usage{}, fmt.Errorf("%q is not the line of a process", stat)
	}
	var numbers [15]int
	for _, i := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return Usage{}, err
		}
		numbers[i] = n
	}
	ticks := numbers[11] + numbers[12] + numbers[13] + numbers[14]
	return Usage{parent: numbers[1], cpu: time.Duration(ticks) * clockTick}, nil
}

// Tree returns the process and all its descendants that live now.
func Tree(root int) (map[int]Usage, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]Usage{}
	for _, name := range names {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		if all[pid], err = parseStat(string(stat)); err != nil {
			return nil, err
		}
	}
	family := map[int]Usage{}
	for pid, p := range all {
		for up := pid; up != 0; up = all[up].parent {
			if up == root {
				family[pid] = p
			}
		}
	}
	if len(family) == 0 {
		return nil, fmt.Errorf("there is no process %d", root)
	}
	return family, nil
}

// TreeCPU returns the CPU time of a process and its descendants, those that
// have ended included.
func TreeCPU(root int) (time.Duration, error) {
	family, err := Tree(root)
	var sum time.Duration
	for _, p := range family {
		sum += p.cpu
	}
	return sum, err
}

// TreePSS returns the memory of a process and its descendants in octets, what
// they share with others counted in proportion.
func TreePSS(root int) (int64, error) {
	family, err := Tree(root)
	if err != nil {
		return 0, err
	}
	var sum int64
	for pid := range family {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := bytes.Cut(rollup, []byte("\nPss:"))
		if fields := bytes.Fields(rest); len(fields) > 0 {
			kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
			if err != nil {
				return 0, err
			}
			sum += kilobytes << 10
		}
	}
	return sum, nil
}

// Resources are what a process has of what an attack could use up.
type Resources struct {
	PSS     int64 // octets of memory, as TreePSS counts them
	Files   int   // descriptors, sockets among them
	Threads int
}

// ResourcesOf asks /proc what a process has at present.
func ResourcesOf(pid int) (Resources, error) {
	var r Resources
	pss, err := TreePSS(pid)
	if err != nil {
		return r, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return r, err
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return Resources{PSS: pss, Files: len(files), Threads: len(threads)}, err
}

// Sampler looks at the memory of a process tree again and again.
type Sampler struct {
	end  chan struct{}
	peak chan int64
}

// sampleEvery is the pause between two looks.
const sampleEvery = 50 * time.Millisecond

// SampleMemory begins to look at the memory of a process and its descendants;
// Stop must follow.
func SampleMemory(root int) *Sampler {
	s := &Sampler{end: make(chan struct{}), peak: make(chan int64)}
	go func() {
		var peak int64
		ticker := time.NewTicker(sampleEvery)
		defer ticker.Stop()
		for {
			if now, err := TreePSS(root); err == nil {
				peak = max(peak, now)
			}
			select {
			case <-ticker.C:
			case <-s.end:
				s.peak <- peak
				return
			}
		}
	}()
	return s
}

// Stop ends it and returns the peak PSS in octets.
func (s *Sampler) Stop() int64 {
	close(s.end)
	return <-s.peak
}

// LoadAverage returns the load of the last minute.
func LoadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// Machine describes the machine in a few words.
func Machine() string {
	version, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d CPUs, Linux %s", runtime.NumCPU(), strings.TrimSpace(string(version)))
}

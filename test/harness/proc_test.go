package harness

import (
	"io"
	"os"
	"os/exec"
	"testing"
)

func TestParseStat(t *testing.T) {
	const stat = "4711 (a) b) S 42 4711 4711 0 -1 4194304 100 200 0 0 5 6 70 800 20 0 1 0 12345 0"
	p, err := parseStat(stat)
	if want := (Usage{parent: 42, cpu: 881 * clockTick}); err != nil || p != want {
		t.Errorf("parseStat = %+v, %v; want %+v", p, err, want)
	}
	for _, bad := range []string{"", "4711 (a", "4711 (a) S 42", "4711 (a) S x 4711 4711 0 -1 4194304 100 200 0 0 5 6 70 800"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("parseStat(%q) did not fail", bad)
		}
	}
}

// TestTree looks at a shell that has a child which used CPU time and has
// ended, and one that runs.
func TestTree(t *testing.T) {
	const burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
	shell := exec.Command("sh", "-c", "sh -c '"+burn+"'; cat; true")
	stdin, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stdin, "answer")
	if _, err := io.ReadFull(stdout, make([]byte, 6)); err != nil { // now cat runs
		t.Fatal(err)
	}
	pid := shell.Process.Pid
	family, err := Tree(pid)
	if err != nil || len(family) != 2 || family[os.Getpid()] != (Usage{}) {
		t.Errorf("tree = %v, %v; want the shell and cat", family, err)
	}
	if cpu, err := TreeCPU(pid); err != nil || cpu < 2*clockTick {
		t.Errorf("CPU time %v, %v, although a child has counted to 300,000", cpu, err)
	}
	if pss, err := TreePSS(pid); err != nil || pss < 64<<10 {
		t.Errorf("two processes take %d octets, %v", pss, err)
	}
	stdin.Close()
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := TreeCPU(pid); err == nil {
		t.Error("a process that has ended still has CPU time")
	}
}

func TestResourcesOf(t *testing.T) {
	before, err := ResourcesOf(os.Getpid())
	if err != nil || before.PSS < 64<<10 || before.Threads == 0 {
		t.Fatalf("this process has %+v, %v", before, err)
	}
	for range 50 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, err := ResourcesOf(os.Getpid()); err != nil || after.Files < before.Files+50 {
		t.Errorf("%+v, %v, after 50 files were opened beside %d", after, err, before.Files)
	}
	if _, err := ResourcesOf(1 << 30); err == nil {
		t.Error("a process that does not exist has resources")
	}
}

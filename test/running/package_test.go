package running

import (
	"crypto/sha256"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBinaryIsStatic: it needs no library, and says what it is.
func TestBinaryIsStatic(t *testing.T) {
	f, err := elf.Open(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a segment %v: it is linked dynamically", p.Type)
		}
	}
	if got := output(t, binary(t), "version"); !strings.HasPrefix(got, "postern "+version+" go1.") {
		t.Errorf("it says it is %q", got)
	}
}

// TestManual has groff read every page.
func TestManual(t *testing.T) {
	groff := need(t, "groff")
	dir := t.TempDir()
	output(t, binary(t), "man", dir)
	pages, err := filepath.Glob(filepath.Join(dir, "*.[15]"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	if said := output(t, groff, append([]string{"-man", "-ww", "-z", "-Tascii"}, pages...)...); said != "" {
		t.Errorf("groff says of the pages:\n%s", said)
	}
}

// deb returns the package of the version, which it builds once.
func deb(t *testing.T) string {
	t.Helper()
	if built.deb == "" {
		binary(t) // makes the directory
		built.deb = pack(t, version, built.dir)
	}
	return built.deb
}

// pack builds a package as `make deb` does, and returns its path.
func pack(t *testing.T, ofVersion, dir string) string {
	t.Helper()
	need(t, "dpkg-deb")
	build := exec.Command(filepath.Join(root, "dist/debian/build"), binary(t), ofVersion, runtime.GOARCH, dir)
	build.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	out, err := build.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestPackage(t *testing.T) {
	file := deb(t)
	if want := "postern_0.9.1+3.gabcdef0_" + runtime.GOARCH + ".deb"; filepath.Base(file) != want {
		t.Errorf("the package is %s, want %s", filepath.Base(file), want)
	}
	var modes []string
	for line := range strings.Lines(output(t, "dpkg-deb", "-c", file)) {
		f := strings.Fields(line)
		if f[1] != "root/root" {
			t.Errorf("not root's: %s", line)
		}
		if name := f[5]; !strings.HasSuffix(name, "/") && !strings.Contains(name, "/man/") && !strings.Contains(name, "/docs/") {
			modes = append(modes, f[0]+" "+strings.TrimPrefix(name, "."))
		}
	}
	want := []string{
		"-rw-r--r-- /etc/postern/postern.toml",
		"-rw-r--r-- /lib/systemd/system/postern.service",
		"-rw-r--r-- /lib/systemd/system/postern.socket",
		"-rwxr-xr-x /usr/bin/postern",
		"-rw-r--r-- /usr/lib/sysusers.d/postern.conf",
		"-rw-r--r-- /usr/lib/tmpfiles.d/postern.conf",
		"-rw-r--r-- /usr/share/doc/postern/CHANGELOG.md.gz",
		"-rw-r--r-- /usr/share/doc/postern/changelog.gz",
		"-rw-r--r-- /usr/share/doc/postern/copyright",
		"-rw-r--r-- /usr/share/doc/postern/grafana.json",
		"-rw-r--r-- /usr/share/doc/postern/postern.example.toml",
		"-rw-r--r-- /usr/share/lintian/overrides/postern",
	}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("the package has (- want, + got):\n%s", diff)
	}
	if got := output(t, "dpkg-deb", "-f", file, "Version"); got != "0.9.1+3.gabcdef0\n" {
		t.Errorf("its version is %q", got)
	}
}

// TestPackageIsTheSameAgain: who builds it again can compare.
func TestPackageIsTheSameAgain(t *testing.T) {
	var sums [2][sha256.Size]byte
	for i, file := range []string{deb(t), pack(t, version, t.TempDir())} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(content)
	}
	if sums[0] != sums[1] {
		t.Error("two packages of the same input differ")
	}
}

// TestLintian has Debian's own critic look, where it is installed; it brings
// hundreds of packages, so that test/install does not.
func TestLintian(t *testing.T) {
	lintian, err := exec.LookPath("lintian")
	if err != nil {
		t.Skip("there is no lintian here")
	}
	if out := output(t, lintian, "--allow-root", "--fail-on", "error,warning", deb(t)); strings.Contains(out, "E:") || strings.Contains(out, "W:") {
		t.Errorf("lintian says:\n%s", out)
	}
}

// inACopy runs a script in a copy of this machine, with the package and the next,
// and compares what it finds.
func inACopy(t *testing.T, script string, want ...string) {
	t.Helper()
	needRoot(t)
	need(t, "dpkg")
	out := output(t, need(t, "unshare"), "--mount", filepath.Join("testdata", script), deb(t), pack(t, "v0.9.2", t.TempDir()))
	var found []string
	for line := range strings.Lines(out) {
		if what, ok := strings.CutPrefix(line, "ok "); ok {
			found = append(found, strings.TrimSpace(what))
		}
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("(- want, + found):\n%s\n%s", diff, out)
	}
}

// TestInstall installs the package, serves from it, upgrades, removes and purges
// it, all without a running systemd.
func TestInstall(t *testing.T) {
	t.Parallel()
	inACopy(t, "install.sh",
		"installed", "user and directories", "not enabled", "what is to be configured is said", "configured", "served",
		"upgraded", "manual", "removed", "as the operator wants it", "purged", "enabled with a configuration", "nothing left")
}

// TestUnderSystemd boots systemd, and has it run the service: with all that the
// unit forbids, with the watchdog, and with a socket.
func TestUnderSystemd(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze")
	inACopy(t, "boot.sh",
		"ready", "hardened", "serving", "mail of programs", "reloaded", "logging", "started again after a kill", "started again by the watchdog",
		"stopped for good", "served by the socket of systemd", "upgraded", "removed")
}

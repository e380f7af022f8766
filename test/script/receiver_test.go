package script

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"postern/test/harness"
)

// receiver starts the server at the end of a line.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("receiver", flag.ContinueOnError)
	six := flags.Bool("6", false, "at IPv6")
	lmtp := flags.Bool("lmtp", false, "speak LMTP")
	held := flags.String("held", "", "a file for which each message waits")
	answers := flags.String("answers", "", "a file of replies")
	shown := flags.String("tls", "", "the files of a certificate and its key, with a comma")
	if err := flags.Parse(args); neg || err != nil || flags.NArg() != 1 && flags.NArg() != 2 {
		ts.Fatalf("usage: receiver [-6] [-lmtp] [-held FILE] [-answers FILE] [-tls CERT,KEY] NAME [ADDRESS]")
	}
	name, address := flags.Arg(0), flags.Arg(1)
	if address == "" {
		address = loopback(*six)
	}
	sink := &harness.Sink{Take: keeper(ts, name), LMTP: *lmtp}
	if *held != "" {
		sink.Reply = holder(ts, *held)
	}
	if *answers != "" {
		sink.Answer = answerer(ts, *answers)
	}
	if *shown != "" {
		cert, key, _ := strings.Cut(*shown, ",")
		pair, err := tls.X509KeyPair([]byte(ts.ReadFile(cert)), []byte(ts.ReadFile(key)))
		ts.Check(err)
		sink.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	ts.Check(sink.ListenAt(address))
	setAddress(ts, name, sink.Addr())
	ts.Defer(func() { sink.Close() })
}

// keeper writes what a receiver takes into files.
func keeper(ts *testscript.TestScript, name string) func(*harness.Arrival) string {
	dir := ts.MkAbs(name)
	ts.Check(errors.Join(os.Mkdir(dir, 0o777), os.Mkdir(dir+".to", 0o777), os.Mkdir(dir+".from", 0o777), os.Mkdir(dir+".by", 0o777)))
	var taken atomic.Int64
	return func(a *harness.Arrival) string {
		name := strconv.FormatInt(taken.Add(1), 10)
		to := strings.Join(slices.Sorted(slices.Values(a.To)), "\n") + "\n"
		from := fmt.Sprintf("%s %s\n", a.Hello, a.Client.Addr())
		err := errors.Join(os.WriteFile(filepath.Join(dir+".to", name), []byte(to), 0o666), os.WriteFile(filepath.Join(dir+".from", name), []byte(from), 0o666),
			os.WriteFile(filepath.Join(dir+".by", name), []byte(a.Client.String()+"\n"), 0o666), os.WriteFile(filepath.Join(dir, name), a.Content, 0o666))
		if err != nil {
			return "451 " + err.Error()
		}
		return ""
	}
}

// holder lets no message be answered before there is a file.
func holder(ts *testscript.TestScript, file string) func(netip.Addr, string) {
	path := ts.MkAbs(file)
	return func(_ netip.Addr, verb string) {
		until := time.Now().Add(patience)
		for verb == "." && !exists(path) && time.Now().Before(until) {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// answerer answers commands as the lines of a file say.
func answerer(ts *testscript.TestScript, file string) func(line string) (string, bool) {
	type rule struct{ begins, reply string }
	var rules []rule
	for line := range strings.Lines(ts.ReadFile(file)) {
		begins, reply, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found {
			ts.Fatalf("%s: a line is \"COMMAND: reply\", and not %q", file, line)
		}
		rules = append(rules, rule{begins, escapes.Replace(reply)})
	}
	return func(line string) (string, bool) {
		for _, r := range rules {
			if strings.HasPrefix(line, r.begins) {
				return strings.TrimPrefix(r.reply, "-- end"), true
			}
		}
		return "", false
	}
}

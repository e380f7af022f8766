package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/test/harness"
)

// directoryCommand makes the bench the process that fills a directory or measures it.
const directoryCommand = "measure-directory"

// directoryJob is what such a process is told.
type directoryJob struct {
	Dir            string
	Users, Aliases int
	Fill           bool
}

// What is measured of a directory, in the order of the table.
const (
	importTime    = "import of all from CSV, s"
	directoryDisk = "on disk, MB"
	openTime      = "opened, s"
	openHeap      = "live heap, MB"
	openPSS       = "memory of the process (PSS), MB"
	aliasRate     = "recipients that are aliases, looked up a second"
	userRate      = "recipients that are users, a second"
	unknownRate   = "recipients that nobody knows, a second"
	twoRate       = "aliases by 2 goroutines at once, a second"
)

// directoryRows are the rows of the table, with what is asked of them.
var directoryRows = []struct {
	name string
	bar  bar
}{
	{importTime, bar{}}, {directoryDisk, bar{}},
	{openTime, atMost(10, 5)}, {openHeap, atMost(300, 200)}, {openPSS, bar{}},
	{aliasRate, bar{}}, {userRate, bar{}}, {unknownRate, bar{}}, {twoRate, bar{}},
}

// benchUsers is how many users there are for each alias, as one in so many.
const benchUsers = 10

func directoryWorkloads() []workload {
	return []workload{{name: "100,000 users, 1,000,000 aliases", messages: 1_000_000}}
}

// weighDirectory is the part of the bench about a large directory.
func weighDirectory(ctx context.Context, b *bench) error {
	aliases := b.settings.choose(directoryWorkloads())[0].messages
	dir := b.newDir()
	defer os.RemoveAll(dir)
	measured := map[string][]float64{}
	for round := range b.settings.pairs + 1 {
		job := directoryJob{Dir: dir, Users: aliases / benchUsers, Aliases: aliases, Fill: round == 0}
		var figures map[string]float64
		if err := runChild(ctx, directoryCommand, job, &figures); err != nil {
			return err
		}
		for name, value := range figures {
			measured[name] = append(measured[name], value)
		}
		fmt.Fprintf(os.Stderr, "directory, round %d: %v\n", round, figures)
	}
	printDirectory(os.Stdout, aliases, measured)
	return nil
}

func printDirectory(out io.Writer, aliases int, measured map[string][]float64) {
	fmt.Fprintf(out, "| %d users, %d aliases | median | least to most | floor | goal |\n|---|---|---|---|---|\n", aliases/benchUsers, aliases)
	for _, row := range directoryRows {
		values := measured[row.name]
		floor, goal := "–", "–"
		if row.bar.absolute {
			floor, goal = row.bar.verdict(row.bar.floor, values), row.bar.verdict(row.bar.goal, values)
		}
		fmt.Fprintf(out, "| %s | %s | %s to %s | %s | %s |\n", row.name, short(harness.Median(values)), short(slices.Min(values)), short(slices.Max(values)), floor, goal)
	}
}

// short writes a figure with as many digits as mean something.
func short(value float64) string {
	if value >= 1000 {
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.2f", value)
}

// directoryChild does the job in argument, and writes what it has measured to out.
func directoryChild(ctx context.Context, argument string, out io.Writer) error {
	var job directoryJob
	if err := json.Unmarshal([]byte(argument), &job); err != nil {
		return err
	}
	do := job.measure
	if job.Fill {
		do = job.fill
	}
	measured, err := do(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(measured)
}

// fill imports all records, and forgets their facts, as if the journal had them.
func (j *directoryJob) fill(ctx context.Context) (map[string]float64, error) {
	d, err := directory.Open(ctx, directory.Options{Dir: j.Dir})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	err = j.importAll(ctx, d)
	took := time.Since(began)
	if err == nil {
		err = forgetAll(ctx, d)
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(j.Dir, directory.File))
	if err != nil {
		return nil, err
	}
	return map[string]float64{importTime: took.Seconds(), directoryDisk: float64(info.Size()) / 1e6}, nil
}

// forgetAll takes the facts away, as the journal does.
func forgetAll(ctx context.Context, d *directory.Directory) error {
	var last uint64
	for {
		facts, err := d.NextFacts(ctx, last, 10_000)
		if err != nil {
			return err
		}
		if len(facts) == 0 {
			return d.ForgetFacts(ctx, last)
		}
		last = facts[len(facts)-1].N
	}
}

// benchDomains is how many domains the aliases are in.
const benchDomains = 100

func (j *directoryJob) importAll(ctx context.Context, d *directory.Directory) error {
	hash := "$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("s", 22) + "$" + strings.Repeat("h", 43)
	scram := "SCRAM-SHA-256$4096:" + strings.Repeat("s", 22) + "==$" + strings.Repeat("k", 43) + "=:" + strings.Repeat("k", 43) + "="
	for _, file := range []struct {
		kind  directory.Kind
		write func(w io.Writer)
	}{
		{directory.KindDomain, func(w io.Writer) {
			fmt.Fprintln(w, "name")
			for i := range benchDomains {
				fmt.Fprintln(w, benchDomain(i))
			}
		}},
		{directory.KindUser, func(w io.Writer) {
			fmt.Fprintln(w, "login,password,scram,addresses,submit,relay")
			for i := range j.Users {
				fmt.Fprintf(w, "%s,\"%s\",%s,%s;sales%d@%s,true,true\n", benchUser(i), hash, scram, benchUser(i), i, benchDomain(i))
			}
		}},
		{directory.KindAlias, func(w io.Writer) {
			fmt.Fprintln(w, "address,targets")
			for i := range j.Aliases {
				fmt.Fprintf(w, "%s@%s,%s\n", benchAlias(i), benchDomain(i), benchUser(i%j.Users))
			}
		}},
	} {
		if err := importFrom(ctx, d, file.kind, file.write); err != nil {
			return err
		}
	}
	return nil
}

func benchDomain(i int) string { return fmt.Sprintf("d%d.example", i%benchDomains) }
func benchUser(i int) string   { return fmt.Sprintf("first.last%d@%s", i, benchDomain(i)) }
func benchAlias(i int) string  { return fmt.Sprintf("some.alias%d", i) }

// importFrom imports what is written.
func importFrom(ctx context.Context, d *directory.Directory, kind directory.Kind, write func(io.Writer)) error {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriter(w)
		write(b)
		w.CloseWithError(b.Flush())
	}()
	defer r.Close() // which ends the writer, if it has not ended
	_, err := d.Import(ctx, "bench", r, directory.ImportOptions{Format: directory.CSV, Kind: kind, File: string(kind)})
	return err
}

// measure opens the directory, and looks recipients up.
func (j *directoryJob) measure(ctx context.Context) (map[string]float64, error) {
	before := liveHeap()
	began := time.Now()
	d, err := directory.Open(ctx, directory.Options{Dir: j.Dir})
	if err != nil {
		return nil, err
	}
	measured := map[string]float64{openTime: time.Since(began).Seconds()}
	measured[openHeap] = float64(liveHeap()-before) / 1e6
	pss, err := harness.TreePSS(os.Getpid())
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	measured[openPSS] = float64(pss) / 1e6
	aliases := j.recipients(j.Aliases, func(i int) string { return benchAlias(i) + "@" + benchDomain(i) })
	users := j.recipients(j.Users, benchUser)
	unknown := j.recipients(j.Aliases, func(i int) string { return fmt.Sprintf("nobody%d@%s", i, benchDomain(i)) })
	err = errors.Join(
		lookUp(measured, aliasRate, d, true, aliases),
		lookUp(measured, userRate, d, true, users),
		lookUp(measured, unknownRate, d, false, unknown),
		lookUp(measured, twoRate, d, true, aliases, aliases))
	return measured, errors.Join(err, d.Close())
}

// liveHeap returns how many octets are in use.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// benchLookups is how many recipients are looked up for a figure.
const benchLookups = 500_000

// recipients returns addresses in an order that skips through all n of them.
func (j *directoryJob) recipients(n int, address func(i int) string) []mail.Address {
	list := make([]mail.Address, benchLookups)
	for i := range list {
		local, domain, _ := strings.Cut(address(i*7919%n), "@")
		list[i] = mail.Address{Local: local, Domain: domain}
	}
	return list
}

// lookUp looks lists of recipients up, all at once, and notes how many a second that
// were. Each must be known, or none.
func lookUp(measured map[string]float64, name string, d *directory.Directory, known bool, lists ...[]mail.Address) error {
	wrong := make([]int, len(lists))
	began := time.Now()
	var running sync.WaitGroup
	looked := 0
	for i, list := range lists {
		looked += len(list)
		running.Go(func() {
			for _, a := range list {
				if _, found := d.Resolve(a); found != known {
					wrong[i]++
				}
			}
		})
	}
	running.Wait()
	measured[name] = float64(looked) / time.Since(began).Seconds()
	if n := slices.Max(wrong); n > 0 {
		return fmt.Errorf("%s: %d look-ups have found something else than is there", name, n)
	}
	return nil
}

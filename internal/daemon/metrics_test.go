package daemon

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/certs"
	"postern/internal/mailtest"
	"postern/internal/metrics"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md")

// table is the metrics in Markdown.
func table(all []metrics.Description) string {
	var b strings.Builder
	b.WriteString("| metric | kind | labels | what it is |\n|---|---|---|---|\n")
	for _, d := range all {
		var labels []string
		for _, l := range d.Labels {
			values := strings.Join(l.Values, ", ")
			if l.Name == "version" {
				values = "that of the program"
			} else if len(l.Values) == 0 {
				values = "its name"
			}
			labels = append(labels, fmt.Sprintf("`%s`: %s", l.Name, values))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Kind, strings.Join(labels, "; "), d.Help)
	}
	return b.String()
}

func TestMetricsPage(t *testing.T) {
	const page, mark = "../../docs/metrics.md", "<!-- go test ./internal/daemon -update writes what follows -->\n\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, shown, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no line %q", page, mark)
	}
	want := table(Metrics())
	if *update {
		if err := os.WriteFile(page, []byte(head+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("%s is not what is counted; run go test ./internal/daemon -update (-code +page):\n%s", page, diff)
	}
}

// Names and texts are as Prometheus' own guide wants them.
func TestMetricsAreNamedWell(t *testing.T) {
	for _, d := range Metrics() {
		switch {
		case !strings.HasPrefix(d.Name, "postern_"):
			t.Errorf("%s does not begin with postern_", d.Name)
		case d.Kind == metrics.CounterKind != strings.HasSuffix(d.Name, "_total"):
			t.Errorf("%s is a %s: counters end in _total, and they alone", d.Name, d.Kind)
		case d.Kind == metrics.HistogramKind && !strings.HasSuffix(d.Name, "_seconds"):
			t.Errorf("%s is a histogram of durations and does not end in _seconds", d.Name)
		case len(d.Help) < 20 || !strings.HasSuffix(d.Help, "."):
			t.Errorf("%s has the help text %q, which is no sentence", d.Name, d.Help)
		}
		for _, l := range d.Labels {
			if slices.Contains([]string{"address", "domain", "host", "client", "sender", "recipient", "site"}, l.Name) {
				t.Errorf("%s has the label %s: what others choose is no label", d.Name, l.Name)
			}
		}
	}
}

// promNames finds the metrics, and promLabels the labels, of an expression.
var (
	promNames  = regexp.MustCompile(`\b(?:postern|process|go)_[a-z0-9_]+`)
	promLabels = regexp.MustCompile(`by \(([a-z, ]+)\)|\{\{([a-z]+)\}\}|([a-z]+)=~?"`)
)

// expressions are what the dashboard asks, each with its legend.
func expressions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../dist/grafana/postern.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr+" "+q.LegendFormat)
		}
	}
	if len(all) < 20 {
		t.Fatalf("the dashboard asks %d questions", len(all))
	}
	return all
}

// labelsOf are the labels of each series that can be asked for.
func labelsOf() map[string][]string {
	labels := map[string][]string{"process_resident_memory_bytes": nil, "process_cpu_seconds_total": nil}
	for _, d := range Metrics() {
		names := []string{d.Name}
		if d.Kind == metrics.HistogramKind {
			names = []string{d.Name + "_bucket", d.Name + "_count", d.Name + "_sum"}
		}
		for _, name := range names {
			labels[name] = []string{"le"}
			for _, l := range d.Labels {
				labels[name] = append(labels[name], l.Name)
			}
		}
	}
	return labels
}

// The alerts of the page are about what there is.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, alerts, _ := strings.Cut(string(text), "## What to be woken for")
	alerts, _, found := strings.Cut(alerts, "## All metrics")
	names, labels := promNames.FindAllString(alerts, -1), labelsOf()
	if !found || len(names) < 8 {
		t.Fatalf("the page has alerts about %q", names)
	}
	for _, name := range names {
		if _, there := labels[name]; !there {
			t.Errorf("an alert asks for %s, which there is not", name)
		}
	}
}

// The dashboard asks for what there is, and for all of it.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	labels, unasked := labelsOf(), map[string]bool{}
	for _, d := range Metrics() {
		unasked[d.Name] = true
	}
	for _, question := range expressions(t) {
		allowed := []string{"instance", "job"}
		for _, name := range promNames.FindAllString(question, -1) {
			of, there := labels[name]
			if !there {
				t.Errorf("the dashboard asks for %s, which there is not: %s", name, question)
			}
			allowed = append(allowed, of...)
			delete(unasked, strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"))
		}
		for _, found := range promLabels.FindAllStringSubmatch(question, -1) {
			for _, label := range strings.Split(found[1]+found[2]+found[3], ", ") {
				if !slices.Contains(allowed, label) {
					t.Errorf("the dashboard asks for the label %q, which there is not: %s", label, question)
				}
			}
		}
		if strings.Count(question, "(") != strings.Count(question, ")") {
			t.Errorf("brackets do not match: %s", question)
		}
	}
	for name := range maps.Keys(unasked) {
		t.Errorf("the dashboard does not show %s", name)
	}
}

// ask asks those of a running server who are there to be asked.
func ask(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func (r *run) monitoring() string { return "http://" + r.watch.socket.Addr().String() }

func TestMonitoring(t *testing.T) {
	sink := mailtest.NewSink(t)
	c := settings(t, sink.Addr().String())
	c.Monitoring.Address = netip.MustParseAddrPort("127.0.0.1:0")
	l, dir := &c.Listeners[0], t.TempDir()
	l.TLSCertificate, l.TLSKey = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	made, err := certs.SelfSigned(certs.Options{Names: []string{"gate.example"}})
	if err := errors.Join(err, certs.Save(made, l.TLSCertificate, l.TLSKey)); err != nil {
		t.Fatal(err)
	}
	r := start(t, c)
	client := r.inContent(t)
	client.SendRaw("Subject: hello\r\n\r\nhello\r\n.\r\n")
	if reply := client.Reply(); reply.Code != 250 {
		t.Fatal(reply)
	}
	if reply := client.Command("VRFY you"); reply.Code == 250 {
		t.Fatal(reply)
	}
	if reply := client.Command("XYZZY"); reply.Code != 500 {
		t.Fatal(reply)
	}
	if _, err := sink.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := ask(t, r.monitoring()+path); status != 200 || body != "ok\n" {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}
	// That the next server has the message does not say that its outcome is counted.
	var told string
	const counted = "postern_transport_recipients_total{outcome=\"delivered\",transport=\"smarthost\"} 1\n"
	for until := time.Now().Add(time.Minute); !strings.Contains(told, counted); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("/metrics does not say %s", counted)
		}
		_, told = ask(t, r.monitoring()+"/metrics")
	}
	for _, line := range []string{
		`postern_info{version="1"} 1`,
		`postern_accepted_messages_total 1`,
		`postern_accepted_recipients_total 1`,
		`postern_smtp_sessions_total 1`,
		`postern_smtp_connections 1`,
		`postern_smtp_refused_total{class="5xx",command="other"} 1`,
		`postern_outgoing_connects_total{result="made"} 1`,
		`postern_transport_recipients_total{outcome="delivered",transport="mx"} 0`,
		`postern_transport_sites_down{transport="smarthost"} 0`,
		`postern_transport_connections{transport="mx"} 0`,
		`postern_pressure{kind="disk"} 0`,
		`postern_damaged_files 0`,
		`postern_journal_lost_facts_total 0`,
		fmt.Sprintf(`postern_certificate_expiry_timestamp_seconds{certificate="listener %s"} %g`, l.Name, float64(made.Leaf.NotAfter.Unix())),
	} {
		if !strings.Contains(told, line+"\n") {
			t.Errorf("/metrics does not say %s", line)
		}
	}
	for _, d := range Metrics() {
		if !strings.Contains(told, "# HELP "+d.Name+" ") {
			t.Errorf("/metrics does not have %s", d.Name)
		}
	}
	if t.Failed() {
		t.Log(told)
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	if log := r.log.String(); strings.Contains(log, "healthz") || strings.Contains(log, "readyz") {
		t.Errorf("the log tells of those who asked:\n%s", log)
	}
}

// A server without room is healthy, and not ready.
func TestNotReady(t *testing.T) {
	c := settings(t, nowhere)
	c.Monitoring.Address = netip.MustParseAddrPort("127.0.0.1:0")
	c.Pressure.MinFreeSpace = 1 << 62
	r := start(t, c)
	if status, body := ask(t, r.monitoring()+"/healthz"); status != 200 {
		t.Errorf("/healthz answers %d %q", status, body)
	}
	if status, body := ask(t, r.monitoring()+"/readyz"); status != 503 || !strings.HasPrefix(body, "disk: ") {
		t.Errorf("/readyz answers %d %q", status, body)
	}
	if _, told := ask(t, r.monitoring()+"/metrics"); !strings.Contains(told, "postern_pressure{kind=\"disk\"} 1\n") {
		t.Error("/metrics does not say that there is pressure")
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	if err := r.ready(); err != errNotServing {
		t.Errorf("when it has stopped it says %v", err)
	}
}

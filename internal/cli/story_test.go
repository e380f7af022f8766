package cli

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

func at(hour int) time.Time { return time.Date(2026, 1, 2, hour, 4, 5, 0, time.Local) }

func TestTellerTellsTheDayOnce(t *testing.T) {
	var out bytes.Buffer
	teller := newTeller(&out)
	teller.ids = true
	for _, hour := range []int{3, 4, 24 + 3} {
		teller.tell(&mail.Fact{Time: at(hour), Reason: mail.ReasonStarted, Text: "1"})
	}
	zone := at(3).Format("-0700")
	blank := strings.Repeat(" ", 18)
	want := "2026-01-02 " + zone + "\n" + blank + "03:04:05.000  started    1\n" + blank + "04:04:05.000  started    1\n" +
		"2026-01-03 " + zone + "\n" + blank + "03:04:05.000  started    1\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestTellerNamesOthers: a fact about the message of the story names the message
// that it is of; the decisions that led to it stand below.
func TestTellerNamesOthers(t *testing.T) {
	var out bytes.Buffer
	newTeller(&out).tell(&mail.Fact{Time: at(3), Reason: mail.ReasonAccepted, Message: "m2", About: "m1", Size: 1, From: "<>", To: []string{"b@y.example"}, Text: "copy",
		Trail: []mail.Decided{{Rule: "archive", Place: "postern.toml:7", Step: "copy_to", Effect: "a copy\x1b to <b@y.example>"}, {Rule: "all", Effect: "accept"}}})
	_, got, _ := strings.Cut(out.String(), "\n")
	want := "03:04:05.000  accepted   m2, 1 B from <> to b@y.example, about m1, copy\n" +
		"                because of archive (postern.toml:7), copy_to: a copy\ufffd to <b@y.example>\n" +
		"                because of all: accept\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTold(t *testing.T) {
	reply := mail.Reply{Code: 450, Enhanced: "4.2.0", Text: "later\x1b[2J"}
	for _, test := range []struct {
		fact mail.Fact
		want string
	}{
		{mail.Fact{Reason: mail.ReasonAccepted, Size: 2048, From: "<a@x.example>", To: []string{"b@y.example", "c@y.example"}, MessageID: "<1@x>",
			Origin: &mail.Origin{Listener: "smtp", Session: "s1", Client: netip.MustParseAddrPort("192.0.2.1:25"), Hello: "h\u202e", Protocol: "ESMTP"}},
			"2.0 KiB from <a@x.example> to b@y.example c@y.example, session s1 of 192.0.2.1:25 (h\ufffd) with ESMTP at smtp, Message-ID <1@x>"},
		{mail.Fact{Reason: mail.ReasonAccepted, Size: 2048, From: "<a@x.example>", To: []string{"b@y.example", "c@y.example"}, MessageID: "<1@x>",
			Origin: &mail.Origin{Listener: "sendmail", Session: "s1", User: &mail.User{UID: 1000, Name: "joe"}}},
			"2.0 KiB from <a@x.example> to b@y.example c@y.example, by user joe (uid 1000) of this host at sendmail, Message-ID <1@x>"},
		{mail.Fact{Reason: mail.ReasonRefused, Origin: &mail.Origin{Listener: "submission", Session: "s1", Client: netip.MustParseAddrPort("192.0.2.1:25"), Hello: "h", Protocol: "ESMTPSA",
			Account: &mail.Account{Name: "joe", Source: "directory", Mechanism: "PLAIN"}}},
			"session s1 of 192.0.2.1:25 (h) with ESMTPSA at submission, account joe (directory, by PLAIN)"},
		{mail.Fact{Reason: mail.ReasonLoginFailed, Count: 42, Text: "from 192.0.2.1, for joe"}, "42 wrong passwords, from 192.0.2.1, for joe"},
		{mail.Fact{Reason: mail.ReasonBanned, Time: at(3), Next: at(4), Text: "address:192.0.2.1"}, "until 04:04:05, address:192.0.2.1"},
		{mail.Fact{Reason: mail.ReasonRouted, Attempt: 2, Text: "smarthost:h"}, "attempt 2 goes by smarthost:h"},
		{mail.Fact{Reason: mail.ReasonAttempted, Attempt: 2, Host: "h", Address: netip.MustParseAddrPort("192.0.2.1:25"), TLS: &mail.TLS{Version: "TLS 1.3"}},
			"attempt 2 ended, h[192.0.2.1:25], TLS 1.3"},
		{mail.Fact{Reason: mail.ReasonAttempted, Attempt: 2, Host: "h", Address: netip.MustParseAddrPort("192.0.2.1:25"), TLS: &mail.TLS{Version: "TLS 1.3"},
			TLSPolicy: &mail.TLSPolicy{Level: "pin", Source: "transport partners, f:1", Met: true, Because: "the key is pinned", Pin: "sha256/x", Certificate: "own"}},
			"attempt 2 ended, h[192.0.2.1:25], TLS 1.3, TLS pin (transport partners, f:1): the key is pinned, sha256/x; the certificate own was shown"},
		{mail.Fact{Reason: mail.ReasonAttempted, Attempt: 2, Host: "h", Address: netip.MustParseAddrPort("192.0.2.1:25"), TLSPolicy: &mail.TLSPolicy{Level: "opportunistic", Met: true, Because: "not offered"}},
			"attempt 2 ended, h[192.0.2.1:25], in clear, TLS opportunistic: not offered"},
		{mail.Fact{Reason: mail.ReasonAttempted, Attempt: 2, Host: "h", Address: netip.MustParseAddrPort("192.0.2.1:25"), TLSPolicy: &mail.TLSPolicy{Level: "verify", Because: "expired"}},
			"attempt 2 ended, h[192.0.2.1:25], TLS verify is not met: expired"},
		{mail.Fact{Reason: mail.ReasonDeferred, Time: at(3), Next: at(4), To: []string{"b@y.example"}, Host: "h", Command: "RCPT", Reply: &reply, Remote: true},
			"b@y.example, h said 450 4.2.0 later\ufffd[2J (RCPT), next attempt at 04:04:05"},
		{mail.Fact{Reason: mail.ReasonDeferred, Time: at(3), Next: at(24), To: []string{"b@y.example"}, Host: "h", Command: "connect", Reply: &mail.Reply{Code: 451, Text: "no answer"}, Text: "refused"},
			"b@y.example, 451 no answer, h (connect), next attempt at " + at(24).Format("2006-01-02 15:04:05 -0700") + ", refused"},
		{mail.Fact{Reason: mail.ReasonTargetDown, Route: "hubs", Host: "h", Address: netip.MustParseAddrPort("192.0.2.1:25"), Text: "connect: refused"},
			"pool hubs, h[192.0.2.1:25], connect: refused"},
		{mail.Fact{Reason: mail.ReasonHeld, To: []string{"b@y.example"}, About: "m1", Hold: mail.HoldDeadLetter, Actor: "joe"}, "b@y.example, about m1, dead letter, by joe"},
	} {
		if got := printable(strings.Join(told(&test.fact), ", ")); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.fact.Reason, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "999ms", time.Second: "1s", 59 * time.Second: "59s", time.Minute: "1m0s",
		time.Hour - time.Second: "59m59s", time.Hour: "1h0m", 23*time.Hour + 59*time.Minute: "23h59m", 49 * time.Hour: "2d1h",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 52428800: "50.0 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestColumn(t *testing.T) {
	forty := strings.Repeat("ü", 40)
	for given, want := range map[string]string{"a\tb\x07": "a\ufffdb\ufffd", forty: forty, forty + "x": strings.Repeat("ü", 39) + "…"} {
		if got := column(given); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

func entry(states ...mail.State) *queue.Entry {
	e := &queue.Entry{ID: "38g934p3c85iftp8", Size: 10, Accepted: at(3), Origin: mail.Origin{Listener: "smtp"},
		Envelope: mail.Envelope{From: mail.Address{Local: "me", Domain: "x.example"}}}
	var recipients []queue.Recipient
	for _, s := range states {
		r := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: string(s), Domain: "y.example"}}, State: s}
		switch s {
		case mail.Held:
			r.Hold = mail.HoldDeadLetter
		case mail.Deferred:
			r.Warned = at(5)
			r.Last = &mail.Outcome{Attempt: 1, At: at(4), Host: "h", Command: "RCPT", Remote: true, Reply: mail.Reply{Code: 450, Text: "\x1b]0;x\x07"}}
		}
		recipients = append(recipients, r)
	}
	e.Deliveries = queue.Deliveries(recipients, at(3))
	return e
}

func TestPrintEntry(t *testing.T) {
	for _, test := range []struct {
		states []mail.State
		want   string // recipients, states, next
	}{
		{[]mail.State{mail.Queued}, "queued@y.example\tqueued\tnow"},
		{[]mail.State{mail.Held}, "held@y.example\theld (dead letter)\t-"},
		{[]mail.State{mail.Deferred, mail.Held, mail.Deferred}, "deferred@y.example and 2 more\tdeferred, held (dead letter)\tnow\t450 \ufffd]0;x\ufffd"},
	} {
		var out bytes.Buffer
		printEntry(&out, entry(test.states...))
		if got := out.String(); !strings.HasSuffix(got, "\t10 B\t<me@x.example>\t"+test.want+"\n") {
			t.Errorf("%v: got %q, want %q", test.states, got, test.want)
		}
	}
	later := entry(mail.Queued)
	later.Deliveries[0].Next = time.Now().Add(25*time.Hour + time.Minute)
	if got := nextAttempt(&later.Deliveries[0]); got != "in 1d1h" {
		t.Errorf("got %s", got)
	}
}

func TestShowEntry(t *testing.T) {
	var out bytes.Buffer
	(&app{out: &output{Writer: &out}}).showMessage(&admin.Message{Entry: *entry(mail.Deferred)})
	for _, want := range []string{
		"accepted  " + at(3).Format("2006-01-02 15:04:05 -0700") + " (",
		"y.example: 0 attempts, next now\n",
		"  <deferred@y.example>  deferred\n    attempt 1 at " + at(4).Format("2006-01-02 15:04:05 -0700") + ": h said 450 \ufffd]0;x\ufffd (RCPT)\n" +
			"    the sender was told of the delay at " + at(5).Format("2006-01-02 15:04:05 -0700") + "\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestShowStatus(t *testing.T) {
	var out bytes.Buffer
	s := admin.Status{Version: "1", Hostname: "gate.example", PID: 7, Started: time.Now(), DataDir: "/data", JournalError: "disk\x1b full",
		Pressures:  []admin.Pressure{{Kind: "disk", Since: time.Now().Add(-time.Hour), Text: "3 MiB\x1b are free"}},
		Listeners:  []admin.Listener{{Name: "smtp", Address: "127.0.0.1:25", Connections: 3, Limit: 62, MaxConnections: 1000}, {Name: "all", Connections: 5, Limit: 7, MaxConnections: 7}},
		Recipients: map[mail.State]int{mail.Queued: 1, mail.Held: 2}, Active: 4}
	(&app{out: &output{Writer: &out}}).showStatus(&s)
	for _, want := range []string{
		"postern 1 on gate.example, process 7, up ", "data in /data\n", "listener smtp at 127.0.0.1:25: 3 connections, 62 are served at present instead of 1000\n",
		"listener all at : 5 connections\n", "UNDER PRESSURE for 1h0m (since ", "): disk: 3 MiB\ufffd are free\n",
		"recipients: 1 queued, 0 deferred, 2 held; 4 deliveries active\n", "THE JOURNAL CANNOT BE WRITTEN: disk\ufffd full\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestNothingListed(t *testing.T) {
	if got := nothingListed(""); got != "the queue is empty" {
		t.Error(got)
	}
	if got := nothingListed("sender = <>"); got == "the queue is empty" {
		t.Error(got)
	}
}

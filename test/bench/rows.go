package main

import (
	"fmt"
	"strings"
)

// small is a workload of messages of 4 KiB, which its name tells.
func small(sessions, messages int, kept, encrypted bool) workload {
	words, s := []string{"4 KiB"}, "s"
	if sessions == 1 {
		s = ""
	}
	if kept {
		words = append(words, fmt.Sprintf("%d kept session%s", sessions, s))
	} else {
		words = append(words, fmt.Sprintf("%d session%s", sessions, s), "a connection per message")
	}
	if encrypted {
		words = append(words, "STARTTLS")
	}
	return workload{name: strings.Join(words, ", "), size: 4 << 10, sessions: sessions, keep: kept, encrypted: encrypted, messages: messages}
}

// The workloads that more than one row or part looks at.
var (
	perMessage = small(20, 4000, false, false)
	kept       = small(20, 4000, true, false)
	many       = workload{name: "100 sessions", size: 4 << 10, sessions: 100, messages: 4000, memory: true}
)

// Rates as multiples of those of the better Postfix.
func times(floor, goal float64) bar { return bar{floor: floor, goal: goal} }

// atMost are bounds of a figure itself.
func atMost(floor, goal float64) bar { return bar{floor: floor, goal: goal, absolute: true} }

// relayRates are the workloads under which the rates of relays are compared,
// with what is asked of Postern there.
func relayRates() []rated {
	withTools := kept
	withTools.name, withTools.tools = kept.name+", `smtp-source -d` and `smtp-sink`", true
	large := workload{name: "64 KiB, 20 sessions, a connection per message", size: 64 << 10, sessions: 20, messages: 2000}
	return []rated{
		{perMessage, times(4, 5.5)},
		{kept, times(6, 10)},
		{withTools, times(6, 10)},
		{small(1, 2000, false, false), times(1.5, 2.5)},
		{large, times(2.5, 3.3)},
		{small(20, 4000, true, true), times(6, 10)},
		{workload: small(1, 2000, true, false)},
		{workload: small(100, 4000, false, false)},
		{workload: small(100, 4000, true, false)},
		{workload: small(1, 300, false, true)},
		{workload: small(20, 2000, false, true)},
		{workload: small(100, 2000, false, true)},
		{workload: small(1, 2000, true, true)},
		{workload: small(100, 4000, true, true)},
	}
}

// rated is a workload with what is asked of its rate.
type rated struct {
	workload
	bar bar
}

// relayWorkloads are those under which relays are compared.
func relayWorkloads() []workload {
	var all []workload
	for _, r := range relayRates() {
		all = append(all, r.workload)
	}
	return append(all, many)
}

// relayTable shows how relays compare.
func relayTable() table {
	var rows []row
	for _, r := range relayRates() {
		row := rate(r.name)
		row.bar = r.bar
		rows = append(rows, row)
	}
	rows = append(rows,
		row{
			title: "CPU seconds per 1,000 messages, relay alone (first row's runs)", workload: perMessage.name,
			figure: figures.cpuPer1000, format: "%.2f", lower: true, bar: atMost(0.5, 0.25),
		},
		row{
			title: "peak memory (PSS), 100 sessions, MB", workload: many.name,
			figure: figures.megabytes, format: "%.0f", lower: true, bar: atMost(150, 60),
		},
	)
	return table{
		rows:    rows,
		columns: []string{noRelay, postfixShipped, postfixTuned, posternName},
		ratios:  []ratio{{"Postern / better Postfix", posternName, []string{postfixShipped, postfixTuned}}},
		traced:  []string{postfixShipped, postfixTuned, posternName},
	}
}

// rate is the row with the messages per second of a workload.
func rate(workload string) row {
	return row{title: workload + ", msg/s", workload: workload, figure: figures.perSecond, format: "%.0f"}
}

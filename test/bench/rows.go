package main

// perMessage is the workload that the row for CPU time looks at too.
var perMessage = workload{name: "4 KiB, 20 sessions, a connection per message", size: 4 << 10, sessions: 20, messages: 4000}

// kept is the workload for which fsyncs are counted.
var kept = workload{name: "4 KiB, 20 kept sessions", size: 4 << 10, sessions: 20, keep: true, messages: 4000}

// relayWorkloads are those under which relays are compared.
var relayWorkloads = []workload{
	perMessage,
	kept,
	{name: "4 KiB, 20 kept sessions, `smtp-source -d` and `smtp-sink`", size: 4 << 10, sessions: 20, keep: true, messages: 4000, tools: true},
	{name: "4 KiB, 1 session", size: 4 << 10, sessions: 1, messages: 2000},
	{name: "64 KiB, 20 sessions", size: 64 << 10, sessions: 20, messages: 2000},
	{name: "100 sessions", size: 4 << 10, sessions: 100, messages: 4000, memory: true},
}

// relayTable shows how relays compare.
func relayTable() table {
	var rows []row
	for _, w := range relayWorkloads {
		if !w.memory {
			rows = append(rows, rate(w.name))
		}
	}
	rows = append(rows,
		row{"CPU seconds per 1,000 messages, relay alone (first row's runs)", perMessage.name, figures.cpuPer1000, "%.2f", true},
		row{"peak memory (PSS), 100 sessions, MB", "100 sessions", figures.megabytes, "%.0f", true},
	)
	return table{
		rows:    rows,
		columns: []string{noRelay, postfixShipped, postfixTuned, posternName},
		ratio:   "Postern / better Postfix",
		of:      posternName,
		to:      []string{postfixShipped, postfixTuned},
	}
}

// rate is the row with the messages per second of a workload.
func rate(workload string) row {
	return row{title: workload + ", msg/s", workload: workload, figure: figures.perSecond, format: "%.0f"}
}

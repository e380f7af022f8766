package main

// workload is what is sent.
type workload struct {
	name     string
	size     int // octets of the body
	sessions int
	keep     bool // a connection for all messages of a session
	messages int
	// tools sends with Postfix's smtp-source to its smtp-sink in place of our
	// own source and sink. They check no ids.
	tools bool
	// memory samples the relay's memory, which costs time: the run's rate is
	// not used.
	memory bool
}

// perMessage is the workload that the row for CPU time looks at too.
var perMessage = workload{name: "4 KiB, 20 sessions, a connection per message", size: 4 << 10, sessions: 20, messages: 4000}

// kept is the workload for which fsyncs are counted.
var kept = workload{name: "4 KiB, 20 kept sessions", size: 4 << 10, sessions: 20, keep: true, messages: 4000}

var workloads = []workload{
	perMessage,
	kept,
	{name: "4 KiB, 20 kept sessions, `smtp-source -d` and `smtp-sink`", size: 4 << 10, sessions: 20, keep: true, messages: 4000, tools: true},
	{name: "4 KiB, 1 session", size: 4 << 10, sessions: 1, messages: 2000},
	{name: "64 KiB, 20 sessions", size: 64 << 10, sessions: 20, messages: 2000},
	{name: "100 sessions", size: 4 << 10, sessions: 100, messages: 4000, memory: true},
}

// row is a row of the table: one figure of one workload.
type row struct {
	title    string
	workload string
	figure   func(figures) float64
	format   string
	// lower says that less is better.
	lower bool
}

func rows() []row {
	var rows []row
	for _, w := range workloads {
		if !w.memory {
			rows = append(rows, row{title: w.name + ", msg/s", workload: w.name, figure: figures.perSecond, format: "%.0f"})
		}
	}
	return append(rows,
		row{"CPU seconds per 1,000 messages, relay alone (first row's runs)", perMessage.name, figures.cpuPer1000, "%.2f", true},
		row{"peak memory (PSS), 100 sessions, MB", "100 sessions", figures.megabytes, "%.0f", true},
	)
}

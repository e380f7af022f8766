package route

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

var update = flag.Bool("update", false, "write the table of docs/ways-out.md")

// oracleHeads are what DNS can say, for the page.
var oracleHeads = map[string]string{
	"servers":    "it has servers",
	"nodomain":   "it does not exist",
	"noserver":   "its servers have no address",
	"nomail":     "it takes no mail",
	"noanswer":   "DNS does not answer",
	"halfanswer": "of one server no address, of the other no answer",
	"back":       "its server is this one",
}

// oracleTable shows where the mail for domains that are not local went.
func oracleTable(observed map[oracleCase]oracleWay) string {
	var b strings.Builder
	b.WriteString("| mailhub | router | firewall | near |")
	for _, says := range oracleAnswers {
		b.WriteString(" " + oracleHeads[says] + " |")
	}
	b.WriteString("\n" + strings.Repeat("|---", 4+len(oracleAnswers)) + "|\n")
	for _, hub := range []bool{false, true} {
		for _, router := range []bool{false, true} {
			for _, firewall := range []bool{false, true}[:map[bool]int{false: 1, true: 2}[router]] {
				for _, near := range []bool{false, true} {
					fmt.Fprintf(&b, "| %s | %s | %s | %s |", yes(hub), yes(router), yes(firewall), yes(near))
					for _, says := range oracleAnswers {
						fmt.Fprintf(&b, " %s |", observed[oracleCase{false, hub, router, firewall, near, says}].cell(says))
					}
					b.WriteString("\n")
				}
			}
		}
	}
	return b.String()
}

// cell is a way on the page: in bold if the domain was not looked up.
func (w oracleWay) cell(says string) string {
	text := w.way
	switch w.way {
	case "hub":
		text = "mailhub"
	case "refused", "waits":
		text += fmt.Sprintf(", %d %s", w.reply.Code, w.reply.Enhanced)
	}
	if !slices.Contains(w.asked, says+".test") {
		text = "**" + text + "**"
	}
	return text
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "–"
}

package peers

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
)

// logged is a relay with a log to look into.
type logged interface {
	harness.Relay
	Log() string
}

// startSender starts the server that the mail is given to.
func (p passage) startSender(ctx context.Context, t *testing.T, next string) logged {
	t.Helper()
	if p.from == postfixKind {
		return startPostfix(ctx, t, "sender", next)
	}
	return startExim(ctx, t, "sender", harness.EximOptions{NextHop: next, Settings: eximOffers(everything)})
}

// startReceiver starts the server that gets it from Postern. What is late it
// takes when a file of the name gate is there.
func (p passage) startReceiver(ctx context.Context, t *testing.T, next, gate string) logged {
	t.Helper()
	if p.to == eximKind {
		return startExim(ctx, t, "receiver", harness.EximOptions{
			NextHop: next, Settings: eximOffers(p.offers),
			Rcpt: "  deny message = 550 5.1.1 no such user\n       local_parts = " + gone + "\n" +
				"  defer message = 451 4.2.1 not yet\n       local_parts = " + late + "\n" +
				"        condition = ${if exists{" + gate + "}{no}{yes}}\n",
			Data: "  deny message = 550 5.7.1 not this\n       senders = " + refused + "\n",
		})
	}
	var lacks []string
	for keyword, has := range map[string]bool{"dsn": p.dsn, "8bitmime": p.eightBit, "chunking": p.chunking, "smtputf8": p.utf8} {
		if !has {
			lacks = append(lacks, keyword)
		}
	}
	return startPostfix(ctx, t, "receiver", next,
		"smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 10000", "smtpd_hard_error_limit = 10000",
		"smtpd_discard_ehlo_keywords = "+strings.Join(lacks, ", "),
		"smtpd_recipient_restrictions = check_recipient_access inline:{ { "+gone+"@ = 550 5.1.1 no such user } }",
		"smtpd_end_of_data_restrictions = check_sender_access inline:{ { "+refused+" = 550 5.7.1 not this } }")
}

// eximOffers are the settings that make Exim offer extensions.
func eximOffers(o offers) string {
	hosts := map[bool]string{true: "*"}
	return fmt.Sprintf("dsn_advertise_hosts = %s\naccept_8bitmime = %t\nchunking_advertise_hosts = %s\nsmtputf8_advertise_hosts = %s\n",
		hosts[o.dsn], o.eightBit, hosts[o.chunking], hosts[o.utf8])
}

// checkChunks checks that mail went in chunks where both ends can do it: from
// Exim to Postern, and from Postern to a receiver that offers it.
func (p passage) checkChunks(t *testing.T, sender logged, postern *harness.Postern, receiver logged) {
	t.Helper()
	if p.from == eximKind && !strings.Contains(logOf(t, sender), " K C=") {
		t.Error("Exim sent nothing in chunks")
	}
	where, words := receiver, " K S="
	if p.to == postfixKind { // it has words of its own for what came in chunks
		where, words = logged(postern), " bytes queued as"
	}
	if got := strings.Contains(logOf(t, where), words); got != p.chunking {
		t.Errorf("%s got mail in chunks: %t, want %t", p.to, got, p.chunking)
	}
}

func logOf(t *testing.T, r logged) string {
	t.Helper()
	log, err := os.ReadFile(r.Log())
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// expect are the copies that must arrive.
func (p passage) expect(letters []*harness.Message) *arrivals {
	a := expect(letters)
	a.sevenBit = !p.eightBit
	for _, m := range letters {
		for _, to := range m.To {
			if p.refusal(m, to) != "" {
				delete(a.due, m.ID+" "+to)
			}
		}
	}
	return a
}

// refusal is the status with which a recipient fails; "" when it does not.
func (p passage) refusal(m *harness.Message, to string) string {
	switch {
	case m.UTF8 && !p.utf8:
		return "5.6.7"
	case local(to) == gone:
		return "5.1.1"
	case m.From == refused:
		return "5.7.1"
	}
	return ""
}

func local(address string) string {
	local, _, _ := strings.Cut(address, "@")
	return local
}

// wants reports whether the options of a recipient ask for a report. Without
// NOTIFY they ask for failure and delay (RFC 3461 4.1).
func wants(options, event string) bool {
	_, notify, given := strings.Cut(options, "NOTIFY=")
	if !given {
		return event != "SUCCESS"
	}
	notify, _, _ = strings.Cut(notify, " ")
	return slices.Contains(strings.Split(notify, ","), event)
}

// notices are what must be told, by the id of the message, and how many
// recipients are dead, because they failed with nobody to tell.
func (p passage) notices(letters []*harness.Message) (told map[string][]string, dead int) {
	told = map[string][]string{}
	for _, m := range letters {
		for i, to := range m.To {
			switch {
			case m.From != "":
				told[m.ID] = append(told[m.ID], p.noticesOf(m, i)...)
			case p.refusal(m, to) != "":
				dead++
			}
		}
	}
	return told, dead
}

// noticesOf are what must be told of one recipient.
func (p passage) noticesOf(m *harness.Message, i int) (rows []string) {
	to, options := m.To[i], m.ToOptions[i]
	headers := "text/rfc822-headers"
	if m.UTF8 {
		headers = "message/global-headers"
	}
	n := notice{final: to, original: p.original(to, options), envelope: envelopeIDOf(m), by: "postern", part: headers}
	switch status := p.refusal(m, to); {
	case status != "":
		n.action, n.status, n.diagnostic, n.part = "failed", status, "smtp;550", returned(m)
		if m.UTF8 && !p.utf8 { // it was not even tried
			n.diagnostic = ""
		}
		if wants(options, "FAILURE") {
			rows = append(rows, n.String())
		}
		return rows
	case local(to) == late && wants(options, "DELAY"):
		n.action, n.status, n.diagnostic = "delayed", "4.2.1", "smtp;451"
		rows = append(rows, n.String())
	}
	if wants(options, "SUCCESS") {
		n.action, n.status, n.diagnostic = "relayed", "2.0.0", "smtp;250"
		if p.dsn {
			n.by = "receiver"
		}
		if p.dsn && p.to == eximKind { // it knows neither relaying nor RFC 6533
			n.action, n.part = "delivered", "text/rfc822-headers"
		}
		rows = append(rows, n.String())
	}
	return rows
}

// maxReturned is the size up to which Postern returns a message whole.
const maxReturned = 50 << 10

// returned is the type of the third part of a report of failure.
func returned(m *harness.Message) string {
	kind := "rfc822"
	if m.UTF8 {
		kind = "global"
	}
	switch {
	case !strings.Contains(m.Options, "RET=HDRS") && len(m.Content) < maxReturned:
		return "message/" + kind
	case m.UTF8:
		return "message/global-headers"
	}
	return "text/rfc822-headers"
}

// original is the recipient as its sender named it. Postfix names it when the
// sender did not.
func (p passage) original(to, options string) string {
	_, original, given := strings.Cut(options, "ORCPT=rfc822;")
	switch {
	case given:
		return unxtext.Replace(original)
	case p.from == postfixKind:
		return to
	}
	return ""
}

func envelopeIDOf(m *harness.Message) string {
	_, id, _ := strings.Cut(m.Options, "ENVID=")
	return unxtext.Replace(id)
}

// unxtext undoes what the envelopes here have of xtext (RFC 3461 4).
var unxtext = strings.NewReplacer("+2B", "+", "+3D", "=")

package deliver

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// named is a way to servers whose certificates must be for a name.
func named(r route.Route, name string) route.Route {
	for i := range r.Hops {
		r.Hops[i].TLS.Names = tlspolicy.NamesOf(name)
	}
	return r
}

func requiringTLS(e *queue.Entry) { e.Envelope.RequireTLS = true }

// fromMX is a way to servers that MX records name.
func fromMX(r route.Route) route.Route {
	for i := range r.Hops {
		r.Hops[i].FromMX = true
	}
	return r
}

// TestRequireTLS: mail with REQUIRETLS goes to a server that was verified and offers
// REQUIRETLS, which is told so, and to no other. Where there is none, that is final at once
// (RFC 8689 4.2.1), unless a server could not be asked.
func TestRequireTLS(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx0.example")
	other, _ := mailtest.ServerTLS(t, "mx0.example") // of an authority that is not trusted
	good := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Keywords: []string{"REQUIRETLS"}})
	silent := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Keywords: []string{"PIPELINING"}})
	strange := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: other, Keywords: []string{"REQUIRETLS"}})
	clear := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: []string{"REQUIRETLS"}}) // which nobody may offer there
	h := start(t, routes{
		"good.example":    to("good", good.Addr()),
		"silent.example":  to("silent", silent.Addr()),
		"strange.example": to("strange", strange.Addr()),
		"clear.example":   to("clear", clear.Addr()),
		"mx.example":      fromMX(to("mx", good.Addr())),
		"named.example":   named(fromMX(to("named", good.Addr())), "mx0.example"),
		"unknown.example": to("unknown", silent.Addr(), refused),
		"none.example":    to("none", clear.Addr(), strange.Addr()),
		"sender.example":  to("nowhere"),
	}, trusting(roots))
	for _, c := range []struct{ domain, want string }{
		{"good", "delivered: 250 2.0.0"},
		{"silent", "bounced: 550 5.7.30"},
		{"strange", "bounced: 550 5.7.10"},
		{"clear", "bounced: 550 5.7.10"},
		{"mx", "bounced: 550 5.7.30"},
		{"named", "delivered: 250 2.0.0"},
		{"unknown", "deferred: 451 4.7.30"},
		{"none", "bounced: 550 5.7.10"},
	} {
		id := h.submitWith("joe@sender.example", requiringTLS, "a@"+c.domain+".example")
		reason := mail.Reason(strings.SplitN(c.want, ":", 2)[0])
		f := h.awaitFacts(id, reason, 1)[0]
		if got := string(f.Reason) + ": " + f.Reply.String(); !strings.HasPrefix(got, c.want) || f.Attempt != 1 {
			t.Errorf("%s: %s at attempt %d, want %s", c.domain, got, f.Attempt, c.want)
		}
	}
	received := good.Received()
	if len(received) != 2 || received[0].Mail != "MAIL FROM:<joe@sender.example> REQUIRETLS" || !received[0].TLS {
		t.Errorf("the good server got %+v", received)
	}
	for name, sink := range map[string]*mailtest.Sink{"silent": silent, "strange": strange, "clear": clear} {
		if got := sink.Received(); len(got) != 0 {
			t.Errorf("%s got %+v", name, got)
		}
	}
}

// TestRequireTLSBesideOtherMail: over a connection in which nobody was verified mail with
// REQUIRETLS does not go, although one is kept to the same server.
func TestRequireTLSBesideOtherMail(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx0.example")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Keywords: []string{"REQUIRETLS"}})
	h := start(t, routes{"": to("a", sink.Addr())}, trusting(roots))
	h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)
	for range 2 {
		h.awaitFacts(h.submitWith("joe@sender.example", requiringTLS, "b@x.example"), mail.ReasonDelivered, 1)
	}
	h.awaitFacts(h.submit("joe@sender.example", "c@x.example"), mail.ReasonDelivered, 1)
	var got []string
	for _, r := range sink.Received() {
		got = append(got, strings.Join(r.To(), " ")+map[bool]string{true: " by TLS", false: ""}[r.TLS]+map[bool]string{true: ", demanded", false: ""}[strings.HasSuffix(r.Mail, " REQUIRETLS")])
	}
	if diff := cmp.Diff([]string{"a@x.example", "b@x.example by TLS, demanded", "b@x.example by TLS, demanded", "c@x.example"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestReportOfRequireTLS: the report about mail with REQUIRETLS has no more than its header,
// whatever RET says, and demands TLS with a verified server; to one that does not know
// REQUIRETLS it goes all the same (RFC 8689 5), and to nobody in clear.
func TestReportOfRequireTLS(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx0.example")
	home := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Keywords: []string{"DSN"}})
	clear := mailtest.NewSink(t)
	h := start(t, routes{"next.example": to("next", clear.Addr()), "sender.example": fromMX(to("home", home.Addr())), "clear.example": to("clear", clear.Addr())}, trusting(roots))
	demand := func(e *queue.Entry) { e.Envelope.RequireTLS, e.Envelope.Return = true, mail.ReturnFull }
	h.awaitFacts(h.submitWith("joe@sender.example", demand, "a@next.example"), mail.ReasonBounced, 1)
	await(t, "the report", func() bool { return len(home.Received()) == 1 })
	got := home.Received()[0]
	if !got.TLS || got.Mail != "MAIL FROM:<>" {
		t.Errorf("the report came with %q, by TLS: %t", got.Mail, got.TLS)
	}
	if text := string(got.Content); !strings.Contains(text, "Subject: Test\r\n") || strings.Contains(text, "text\r\n.") || !strings.Contains(text, "text/rfc822-headers") || strings.Contains(text, ".dot") {
		t.Errorf("the report is\n%s", text)
	}
	h.awaitFacts(h.submitWith("", requiringTLS, "joe@clear.example"), mail.ReasonDeferred, 1)
	if n := len(clear.Received()); n != 0 {
		t.Errorf("%d messages went in clear", n)
	}
}

// TestRequireTLSBehindSocket: what goes through a Unix socket does not leave the machine, so that
// whatever a message demands of TLS is met there, a wish of the transport that is not makes it wait, and
// the fact says why it was good enough.
func TestRequireTLSBehindSocket(t *testing.T) {
	const lhlo = "S: 220 peer\nC: LHLO gate.example\nS: 250-peer\nS: 250 PIPELINING\n"
	const mailing = lhlo + "C: MAIL FROM:<joe@sender.example>\nC: RCPT TO:<a@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 2.0.0 saved" + quit
	for _, c := range []struct {
		name, script string
		level        tlspolicy.Level
		change       func(*queue.Entry)
		want, told   string
	}{
		{"REQUIRETLS", mailing, tlspolicy.Opportunistic, requiringTLS, "delivered: 250 2.0.0 saved", "opportunistic: the server is behind a Unix socket, which does not leave this machine"},
		{"a demand of policy", mailing, tlspolicy.None, func(e *queue.Entry) { e.TLS = mail.TLSVerified }, "delivered: 250 2.0.0 saved", "none: TLS is not wanted"},
		{"a wish of the transport", lhlo, tlspolicy.Required, requiringTLS, "deferred: 451 4.7.4 TLS is required", "required: the server does not offer TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lmtp")
			mailtest.NewPeerWith(t, mailtest.PeerOptions{Socket: path, Scripts: []string{c.script}})
			lane := route.Lane{Host: "unix:" + path, Socket: path, Transport: "t", TLS: tlspolicy.Policy{Level: c.level}}
			h := start(t, routes{"": route.Route{Name: "t", Site: "t:unix:" + path, Hops: []route.Hop{{Lane: lane}}}}, withTransport(Transport{Client: smtpclient.Options{LMTP: true}}))
			reason := mail.Reason(strings.SplitN(c.want, ":", 2)[0])
			id := h.submitWith("joe@sender.example", c.change, "a@x.example")
			f := h.awaitFacts(id, reason, 1)[0]
			if got := string(f.Reason) + ": " + f.Reply.String(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
			p := h.awaitFacts(id, mail.ReasonAttempted, 1)[0].TLSPolicy
			if p == nil || p.Level+": "+p.Because != c.told {
				t.Errorf("told of TLS: %+v, want %s", p, c.told)
			}
		})
	}
}

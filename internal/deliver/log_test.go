package deliver

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
)

// TestLogOfAnOutcome: the line of a delivery, and what it says of TLS: the sentence only where
// TLS was demanded, or failed.
func TestLogOfAnOutcome(t *testing.T) {
	encrypted := &mail.TLS{Version: "TLS 1.3"}
	for _, c := range []struct {
		name string
		o    mail.Outcome
		tls  string // what the line ends with, behind the cause
	}{
		{"in clear", mail.Outcome{TLSPolicy: &mail.TLSPolicy{Level: "none", Source: "x.toml:1", Met: true, Because: "TLS is not wanted"}}, ""},
		{"none was looked at", mail.Outcome{}, ""},
		{"under TLS that nobody demands", mail.Outcome{TLS: encrypted, TLSPolicy: &mail.TLSPolicy{Level: "opportunistic", Met: true, Because: "anybody's"}},
			` tls="TLS 1.3"`},
		{"demanded", mail.Outcome{TLS: encrypted, TLSPolicy: &mail.TLSPolicy{Level: "verify", Source: "x.toml:1", Met: true, Because: "it is good"}},
			` tls="TLS 1.3, verify (x.toml:1): it is good"`},
		{"not met, for the cause", mail.Outcome{Cause: "gone", TLSPolicy: &mail.TLSPolicy{Level: "required", Because: "gone"}}, ` tls="required is not met"`},
		{"not demanded, and broken off", mail.Outcome{TLSPolicy: &mail.TLSPolicy{Level: "opportunistic", Because: "gone"}}, ` tls="opportunistic is not met: gone"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.o.State, c.o.Attempt, c.o.Host, c.o.Command = mail.Delivered, 2, "mx.example", "end of data"
			c.o.Reply = mail.NewReply(250, "2.0.0", "Ok")
			c.o.Address = netip.MustParseAddrPort("192.0.2.1:25")
			slog.New(slog.NewTextHandler(&out, nil)).LogAttrs(t.Context(), slog.LevelInfo, "delivered", attributes("m1", mail.Address{Local: "joe", Domain: "b.example"}, &c.o)...)
			_, got, _ := strings.Cut(out.String(), "msg=")
			cause := `""`
			if c.o.Cause != "" {
				cause = c.o.Cause
			}
			want := `delivered message=m1 to=<joe@b.example> attempt=2 host=mx.example address=192.0.2.1:25 command="end of data" reply="250 2.0.0 Ok" cause=` + cause + c.tls + "\n"
			if got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}

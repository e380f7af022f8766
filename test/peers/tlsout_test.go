package peers

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// withClientTLS makes a Postfix that takes mail by TLS alone, asks for the certificate of the
// client, and writes both into Received.
const withClientTLS = `
smtpd_tls_security_level = encrypt
smtpd_tls_ask_ccert = yes
smtpd_tls_received_header = yes
smtpd_tls_cert_file = DIR/next.pem
smtpd_tls_key_file = DIR/next.key
`

// tlsOutSettings are ways to it.
const tlsOutSettings = `
[[certificate]]
name = "client"
certificate = "DIR/client.pem"
key = "DIR/client.key"

[[transport]]
name = "certified"
hosts = ["NEXT"]
tls = "verify"
tls_ca_file = "DIR/next.pem"
tls_names = ["next.test.example"]
tls_certificate = "client"

[[transport]]
name = "pinned"
hosts = ["NEXT"]
tls = "pin"
tls_pins = ["PIN"]

[[transport]]
name = "changed"
hosts = ["NEXT"]
tls = "pin"
tls_pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]

[[transport]]
name = "clear"
hosts = ["NEXT"]
tls = "none"

[[route]]
name = "certified"
recipients = ["*@certified.example"]
transport = "certified"

[[route]]
name = "pinned"
recipients = ["*@pinned.example"]
transport = "pinned"

[[route]]
name = "changed"
recipients = ["*@changed.example"]
transport = "changed"

[[route]]
name = "in-clear"
recipients = ["*@clear.example"]
transport = "clear"
`

// TestTLSToPostfix: Postfix and the binary agree on what there was of TLS: the certificate that was
// verified, the one that was shown, and the pin; what has another pin never comes.
func TestTLSToPostfix(t *testing.T) {
	ctx := bounded(t)
	dir := directory(t)
	server, _ := mailtest.ServerTLS(t, "next.test.example")
	client, _ := mailtest.ServerTLS(t, "gate.test.example")
	for name, content := range map[string][]byte{
		"next.pem": mailtest.CertificatePEM(server), "next.key": mailtest.KeyPEM(t, server),
		"client.pem": mailtest.CertificatePEM(client), "client.key": mailtest.KeyPEM(t, client),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	came := make(map[string]string)
	sink := startSink(t, func(a *harness.Arrival) string {
		mu.Lock()
		defer mu.Unlock()
		came[a.To[0]] = string(a.Content)
		return ""
	})
	next := startPostfixWith(ctx, t, "next", sink.Addr(), transparent+strings.ReplaceAll(withClientTLS, "DIR", dir))
	pin := mail.KeyPin(server.Certificates[0].Leaf).String()
	settings := strings.NewReplacer("DIR", dir, "NEXT", next.Addr(), "PIN", pin).Replace(tlsOutSettings)
	postern := startPosternWith(ctx, t, next.Addr(), settings)
	submit(ctx, t, postern.Addr(), []*harness.Message{{
		ID: "tls", From: "me@sender.example", To: []string{"a@certified.example", "a@pinned.example", "a@changed.example", "a@clear.example"},
		Content: append(harness.Header("tls", "me@sender.example", "undisclosed"), "text\r\n"...),
	}})
	told := make(map[string]*mail.TLSPolicy)
	err := harness.Until(ctx, "each recipient has been tried", func() (bool, error) {
		ended := make(map[string]bool)
		err := journal.Read(ctx, postern.Journal(), journal.Query{}, func(f mail.Fact) error {
			switch f.Reason {
			case mail.ReasonAttempted:
				told[f.Route] = f.TLSPolicy
			case mail.ReasonDelivered, mail.ReasonRelayed, mail.ReasonDeferred, mail.ReasonBounced:
				ended[f.To[0]+" "+string(f.Reason)] = true
			}
			return nil
		})
		mu.Lock()
		defer mu.Unlock()
		attempted := told["certified"] != nil && told["pinned"] != nil && told["changed"] != nil
		return attempted && ended["a@changed.example deferred"] && ended["a@clear.example deferred"] && len(came) == 2, err
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, came)
	}
	for to, want := range map[string]string{"a@certified.example": `(Client CN "gate.test.example"`, "a@pinned.example": "(Client did not present a certificate)"} {
		if !strings.Contains(came[to], "using TLSv1.3 with cipher") || !strings.Contains(came[to], want) {
			t.Errorf("%s came as\n%s", to, came[to])
		}
	}
	if p := told["certified"]; !p.Met || p.Name != "next.test.example" || p.Certificate != "client" || p.Trust != dir+"/next.pem" {
		t.Errorf("%+v", p)
	}
	if p := told["pinned"]; !p.Met || p.Pin != pin || p.Certificate != "" {
		t.Errorf("%+v", p)
	}
	if p := told["changed"]; p.Met || !strings.Contains(p.Because, pin) {
		t.Errorf("%+v", p)
	}
}

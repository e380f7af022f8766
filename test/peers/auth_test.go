package peers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// TestSmarthostPassword: the binary authenticates itself to a smarthost whose
// certificate it trusts, and shows the password nowhere.
func TestSmarthostPassword(t *testing.T) {
	ctx := bounded(t)
	config, _ := mailtest.ServerTLS(t, "smarthost.example")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"relay": "hunter2"}})
	dir := directory(t)
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, mailtest.CertificatePEM(config), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := harness.BuildPostern(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	postern, err := harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: sink.Addr().String(), TLS: "verify",
		Settings: "smarthost_credential = \"relay\"\n[log]\nlevel = \"debug\"\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := postern.Command(ctx, "check").CombinedOutput(); err != nil || !strings.Contains(string(out), "delivery.smarthost_credential: \"relay\" is not in the directory") {
		t.Errorf("a credential that is not there is not missed: %v %s", err, out)
	}
	if err := postern.SetCredential(ctx, "relay", "relay", "hunter2"); err != nil {
		t.Fatal(err)
	}
	if err := postern.StartAs(ctx, binary, "SSL_CERT_FILE="+roots); err != nil {
		t.Fatal(err)
	}
	defer postern.Stop()
	messages := []*harness.Message{plain(0, "text\r\n")}
	source := harness.Source{Addr: postern.Addr(), Sessions: 1, Next: func() *harness.Message {
		if len(messages) == 0 {
			return nil
		}
		m := messages[0]
		messages = nil
		return m
	}}
	if err := source.Run(ctx); err != nil {
		t.Fatal(err)
	}
	received, err := sink.Wait(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if received[0].User != "relay" || !received[0].TLS {
		t.Errorf("sent by %q, TLS %t", received[0].User, received[0].TLS)
	}
	if err := harness.UntilEmpty(ctx, postern); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(postern.Log())
	if err != nil || len(log) == 0 || strings.Contains(string(log), "hunter2") {
		t.Errorf("the log, %v:\n%s", err, log)
	}
}

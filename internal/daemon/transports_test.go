package daemon

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/smtpclient"
)

// TestTransports: a transport goes as its table says, and where that says nothing as
// [delivery] does.
func TestTransports(t *testing.T) {
	c := config.Default()
	c.Delivery.IdleTimeout = 7 * time.Second
	plain := config.Transport{Name: "plain", Kind: config.TransportSmarthost, TransportLimits: config.TransportLimits{IdleTimeout: config.AsDelivery}}
	own := config.Transport{Name: "own", Kind: config.TransportLMTP, TransportLimits: config.TransportLimits{
		MaxConnections: 1, MaxMessages: 2, MaxRecipients: 3, Rate: limit.Rate{Max: 4, Per: time.Minute}, MaxSize: 5000,
		ConnectTimeout: 6 * time.Second, GreetingTimeout: 7 * time.Second, CommandTimeout: 8 * time.Second,
		DataTimeout: 9 * time.Second, BlockTimeout: 10 * time.Second, FinalTimeout: 11 * time.Second,
		WithoutExtensions: []config.Extension{config.ExtensionChunking, config.ExtensionSize},
	}}
	c.Transports = []config.Transport{plain, own}
	d := &Daemon{}
	all := d.transports(&graph{config: c})
	x := all["plain"]
	usual := d.clientOf(&graph{config: c}, &config.Transport{})
	if x.MaxConnections != 0 || x.MaxRecipients != 0 || x.IdleTimeout != 7*time.Second || x.Rate.Max != 0 || x.MaxSize != 0 {
		t.Errorf("what says nothing has %+v", x)
	}
	if diff := cmp.Diff(usual.Timeouts, x.Client.Timeouts); diff != "" || x.Client.LMTP || x.Client.MaxMessages != 0 || x.Client.Without != nil {
		t.Errorf("what says nothing connects as %+v\n%s", x.Client, diff)
	}
	x = all["own"]
	want := smtpclient.Timeouts{
		Connect: 6 * time.Second, Greeting: 7 * time.Second, Hello: 8 * time.Second, Mail: 8 * time.Second, Rcpt: 8 * time.Second,
		DataStart: 9 * time.Second, DataBlock: 10 * time.Second, DataEnd: 11 * time.Second,
	}
	if diff := cmp.Diff(want, x.Client.Timeouts); diff != "" {
		t.Error(diff)
	}
	if x.MaxConnections != 1 || x.Client.MaxMessages != 2 || x.MaxRecipients != 3 || x.Rate != own.Rate || x.MaxSize != 5000 || x.IdleTimeout != 0 || !x.Client.LMTP {
		t.Errorf("%+v", x)
	}
	if diff := cmp.Diff([]string{"CHUNKING", "SIZE"}, x.Client.Without); diff != "" {
		t.Error(diff)
	}
}

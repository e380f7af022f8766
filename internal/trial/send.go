package trial

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/mail"
	"postern/internal/smtpclient"
)

// Send sends a message to the server as any client would, and returns the id
// that it was given.
func Send(ctx context.Context, server string, envelope mail.Envelope, to []mail.Address, content []byte) (mail.ID, error) {
	address, err := netip.ParseAddrPort(server)
	if err != nil {
		return "", err
	}
	conn, err := smtpclient.Dial(ctx, hostname, address, smtpclient.Options{Hostname: "client.example"})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	recipients := make([]mail.Recipient, len(to))
	for i := range to {
		recipients[i].Address = to[i]
	}
	outcomes := conn.Send(ctx, &smtpclient.Transaction{
		Envelope:   envelope,
		Recipients: recipients,
		Size:       int64(len(content)),
		Body:       bytes.NewReader(content),
	})
	for _, o := range outcomes {
		if o.State != mail.Delivered {
			return "", fmt.Errorf("the server answered %s to %s", o.Reply, o.Command)
		}
	}
	text := outcomes[0].Reply.Text
	return mail.ParseID(text[strings.LastIndexByte(text, ' ')+1:])
}

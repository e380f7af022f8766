package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/netutil"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/intake"
)

// api is what the administrative API needs at a TCP address.
type api struct {
	tokens []admin.Token
	tls    *tls.Config // nil: in clear
	socket net.Listener
}

// loadAPI reads the tokens and the certificate of the API.
func (d *Daemon) loadAPI() error {
	c := &d.config.Admin
	if !c.Address.IsValid() {
		return nil
	}
	var errs []error
	if text, err := readSecretText(c.Tokens, admin.MaxTokens+1); err != nil {
		errs = append(errs, d.config.Wrong("admin.tokens", fmt.Errorf("%s: %w", c.Tokens, err)))
	} else if d.api.tokens, err = parseTokens(text); err != nil {
		errs = append(errs, d.config.Wrong("admin.tokens", fmt.Errorf("%s: %w", c.Tokens, err)))
	}
	if c.TLSCertificate != "" {
		certificate, err := certs.Load(c.TLSCertificate, c.TLSKey, d.clock.Now())
		if err != nil {
			errs = append(errs, d.config.Wrong("admin.tls_certificate", err))
		} else {
			d.api.tls = certs.ServerConfig(certificate)
		}
	}
	return errors.Join(errs...)
}

func parseTokens(text string) ([]admin.Token, error) {
	if len(text) > admin.MaxTokens {
		return nil, fmt.Errorf("has more than %d octets", admin.MaxTokens)
	}
	return admin.ParseTokens(text)
}

// bindAdmin binds the administrative socket, and the address of the API if
// there is one.
func (d *Daemon) bindAdmin(door *intake.Intake) error {
	socket, err := admin.Listen(d.config.Socket())
	if err != nil {
		return fmt.Errorf("administrative %w", err)
	}
	d.socket = socket
	d.admin = admin.NewServer(admin.Options{
		Queue: d.suspended, Store: d.store, Journal: d.journal, Importer: door, Snapshot: d.snapshot,
		Status: d.status, Stop: d.stop, Tokens: d.api.tokens, Logger: d.Logger, Clock: d.clock,
	})
	address := d.config.Admin.Address
	if !address.IsValid() {
		return nil
	}
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		return fmt.Errorf("admin.address: %w", cannotListen(address, err))
	}
	listener = netutil.LimitListener(listener, admin.MaxConnections)
	if d.api.tls != nil {
		listener = tls.NewListener(listener, d.api.tls)
	}
	d.api.socket = listener
	return nil
}

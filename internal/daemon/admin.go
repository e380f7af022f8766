package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/mail"
)

// api is what the administrative API needs at a TCP address.
type api struct {
	tokens []admin.Token
	tls    *tls.Config  // nil: in clear
	files  *certs.Files // of that
}

// loadAPI reads the tokens and the certificate of the API.
func (g *graph) loadAPI() error {
	c := &g.config.Admin
	if !c.Address.IsValid() {
		return nil
	}
	var errs []error
	if text, err := readSecretText(c.Tokens, admin.MaxTokens+1); err != nil {
		errs = append(errs, g.config.Wrong("admin.tokens", fmt.Errorf("%s: %w", c.Tokens, err)))
	} else if g.api.tokens, err = parseTokens(text); err != nil {
		errs = append(errs, g.config.Wrong("admin.tokens", fmt.Errorf("%s: %w", c.Tokens, err)))
	}
	if c.TLSCertificate != "" {
		certificate, err := certs.OpenFiles("admin", certs.Pair{Certificate: c.TLSCertificate, Key: c.TLSKey}, g.clock)
		if err != nil {
			errs = append(errs, g.config.Wrong("admin.tls_certificate", err))
		} else {
			g.api.files = certificate
			g.api.tls = certs.ServerConfig(certs.Choice{certificate}.Get)
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
func (d *Daemon) bindAdmin(g *graph) error {
	socket, err := admin.Listen(g.config.Socket())
	if err != nil {
		return fmt.Errorf("administrative %w", err)
	}
	d.socket = socket
	d.admin = admin.NewServer(admin.Options{
		// The door for imports is one for good: it takes one at a time, and no setting
		// has a say in what they bring.
		Queue: d.suspended, Sites: d.deliverer, Targets: d.pools, Tally: d.deliverer.Tally, Store: d.store, Journal: d.journal, Importer: d.door(g), Snapshot: d.snapshot, Control: d, Records: d.recordOptions(),
		Certificates: certificateKeeper(g.certificates.store, d.inForce, d.certificateChanged, d.clock),
		Keys:         keyKeeper(g.keys, d.inForce, d.keyChanged, d.clock), Alignment: alignmentOf(d.inForce),
		Transports: func() []string { return d.inForce().config.TransportNames() },
		Bound:      func(r mail.Routing, to mail.Destination) string { return d.inForce().router().Bound(r, to) },
		Status:     d.status, Stop: d.stop, Tokens: g.api.tokens, Logger: d.Logger, Clock: d.clock,
	})
	d.apiCertificate = g.api.files
	address := g.config.Admin.Address
	if !address.IsValid() {
		return nil
	}
	listener, err := net.Listen(networkOf(address), address.String())
	if err != nil {
		return fmt.Errorf("admin.address: %w", cannotListen(address, err, listenHint(err)))
	}
	d.apiSocket = listener
	return nil
}

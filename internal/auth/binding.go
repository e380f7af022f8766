package auth

import (
	"crypto/tls"
	"fmt"

	"github.com/xdg-go/scram"
)

// The types of channel binding that are offered, the best first. tls-server-end-point
// (RFC 5929 4) is not among them: package crypto/tls does not tell which certificate a
// connection has shown.
var bindings = []struct {
	name scram.ChannelBindingType
	data func(*tls.ConnectionState) []byte
}{
	{scram.ChannelBindingTLSExporter, exporter},
	{scram.ChannelBindingTLSUnique, unique},
}

// exporter is tls-exporter (RFC 9266 2). It is nil where the secret of the connection
// need not be its own: before TLS 1.3 without the extended master secret (RFC 7627).
func exporter(t *tls.ConnectionState) []byte {
	data, err := t.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return data
}

// unique is tls-unique (RFC 5929 3), under the same condition: without it, two
// connections can be made to have the same value (the triple handshake).
func unique(t *tls.ConnectionState) []byte {
	if exporter(t) == nil {
		return nil
	}
	return t.TLSUnique // nil with TLS 1.3
}

// bindingOf returns the binding that a client names. Errors: ErrInvalid, when there is
// none of that name.
func bindingOf(t *tls.ConnectionState, name scram.ChannelBindingType) (scram.ChannelBinding, error) {
	for _, b := range bindings {
		if b.name != name || t == nil {
			continue
		}
		if data := b.data(t); data != nil {
			return scram.ChannelBinding{Type: name, Data: data}, nil
		}
	}
	return scram.ChannelBinding{}, fmt.Errorf("%w: the client wants to bind to what is not offered", ErrInvalid)
}

// anyBinding returns the first that there is.
func anyBinding(t *tls.ConnectionState) scram.ChannelBinding {
	for _, b := range bindings {
		if data, err := bindingOf(t, b.name); err == nil {
			return data
		}
	}
	return scram.ChannelBinding{}
}

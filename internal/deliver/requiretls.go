package deliver

import (
	"errors"
	"slices"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// errUnvouched refuses mail with REQUIRETLS for which only servers are known that anybody
// may have named.
var errUnvouched = mail.Refuse(550, "5.7.30", "The message requires TLS on its whole way, and nothing vouches for the names of the domain's servers (DNSSEC, MTA-STS)")

// wholeWay reports whether a message goes only where TLS is kept on its whole way (RFC 8689
// 4.2.1). A report demands TLS with a verified server, too, and the rest where it can be had:
// it is not to be lost (RFC 8689 5).
func wholeWay(e *mail.Envelope) bool { return e.RequireTLS && !e.From.IsNull() }

// vouched returns the route with the servers to which a message may go: with REQUIRETLS not to
// those that MX records name, unless DNSSEC or MTA-STS vouches for these (RFC 8689 4.2.1), or the
// policy itself says what the server must show, by its key or its name. A certificate that is good
// for the name of whoever has made up the record is worth nothing.
func vouched(r route.Route, e *mail.Envelope) (route.Route, error) {
	if !wholeWay(e) {
		return r, nil
	}
	hops := slices.DeleteFunc(slices.Clone(r.Hops), func(h route.Hop) bool { return h.FromMX && !h.TLS.NamesServer() })
	if len(hops) == 0 && len(r.Hops) > 0 {
		if r.Partial {
			return route.Route{Name: r.Name}, errPartial
		}
		return route.Route{Name: r.Name}, errUnvouched
	}
	r.Hops = hops
	return r, nil
}

// unsecured returns the failure that ends a message with REQUIRETLS where a server was reached
// that cannot give what it demands: there is no TLS, or the certificate is not good (RFC 8689
// 4.2.1). It is nil for any other failure, and other mail; and behind a Unix socket, where TLS is a wish
// of the transport alone.
func unsecured(err error, hop route.Hop, e *mail.Envelope) *smtpclient.Error {
	failure, is := errors.AsType[*smtpclient.Error](err)
	if !is || !wholeWay(e) || hop.Socket != "" || failure.Command != "STARTTLS" || failure.Remote {
		return nil
	}
	_, bad := errors.AsType[*tlspolicy.Failure](failure.Cause)
	if !bad && (failure.Reply.Enhanced != "4.7.4" || failure.Cause != nil) { // a server that refuses to start TLS may do so later
		return nil
	}
	final := *failure
	final.Reply.Code, final.Reply.Enhanced = 550, "5.7.10"
	return &final
}

package script

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"postern/internal/certs"
	"postern/internal/mail"
)

var errNoTLS = errors.New("STARTTLS is not offered")

// shown connects to $SMTP and begins TLS as a client that asks for a name, again and
// again, until the certificate matches a pattern; "!" waits until no TLS is offered.
func shown(ts *testscript.TestScript, neg bool, args []string) {
	if neg != (len(args) == 0) || !neg && len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: shown NAME PATTERN [ROOTS], or ! shown")
	}
	config := &tls.Config{InsecureSkipVerify: true}
	if len(args) == 3 {
		config = &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM([]byte(ts.ReadFile(args[2])))
	}
	pattern := regexp.MustCompile("$.") // which nothing matches
	if !neg {
		var err error
		pattern, err = regexp.Compile(args[1])
		ts.Check(err)
		if args[0] != "-" {
			config.ServerName = args[0]
		}
	}
	until := time.Now().Add(patience)
	for {
		text, err := show(ts.Getenv("SMTP"), config)
		if neg && errors.Is(err, errNoTLS) || err == nil && pattern.MatchString(text) {
			return
		}
		if time.Now().After(until) {
			ts.Fatalf("still shown: %s, error %v", text, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// show returns what stands in the certificate that a server shows.
func show(address string, config *tls.Config) (string, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	c := textproto.NewConn(nc)
	if _, _, err := c.ReadResponse(220); err != nil {
		return "", err
	}
	if err := c.PrintfLine("EHLO client.example"); err != nil {
		return "", err
	}
	_, offers, err := c.ReadResponse(250)
	if err == nil && !strings.Contains(offers, "STARTTLS") {
		err = errNoTLS
	}
	if err == nil {
		err = c.PrintfLine("STARTTLS")
	}
	if err == nil {
		_, _, err = c.ReadResponse(220)
	}
	if err != nil {
		return "", err
	}
	secure := tls.Client(nc, config)
	if err := secure.Handshake(); err != nil {
		return "", err
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	return fmt.Sprintf("for %s by %s, %v", strings.Join(leaf.DNSNames, " "), leaf.Issuer.CommonName, leaf.PublicKeyAlgorithm), nil
}

// mode wants a file to be readable by its owner alone.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mode FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if info.Mode().Perm() != 0o600 {
		ts.Fatalf("%s has mode %v, want 0600", args[0], info.Mode().Perm())
	}
}

// aged writes a certificate, with its key, that was made a while ago.
func aged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: aged FILE NAME LEFT LIFE")
	}
	const day = 24 * time.Hour
	left, err := strconv.Atoi(args[2])
	ts.Check(err)
	life, err := strconv.Atoi(args[3])
	ts.Check(err)
	made := mail.NewManualClock(time.Now().Add(time.Duration(left-life) * day))
	c, err := certs.SelfSigned(certs.Options{Names: []string{args[1]}, Lifetime: time.Duration(life) * day, Clock: made})
	ts.Check(err)
	key, err := certs.EncodeKey(c.PrivateKey)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(key, certs.EncodeChain(&c)...), 0o600))
}

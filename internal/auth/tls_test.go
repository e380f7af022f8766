package auth

import (
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"

	"postern/internal/mailtest"
)

func logTo(to *strings.Builder) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// tlsPair returns the two ends of a connection.
func tlsPair(t *testing.T, version uint16) (server, client *tls.ConnectionState) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	config, _ := mailtest.ServerTLS(t, "mail.example.com")
	config.MaxVersion = version
	s := tls.Server(far, config)
	c := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ends := [2]tls.ConnectionState{s.ConnectionState(), c.ConnectionState()}
	return &ends[0], &ends[1]
}

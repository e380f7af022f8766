package trial

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"time"

	"postern/internal/certs"
	"postern/internal/sink"
	"postern/internal/smtpserver"
)

// sinkGrace is how long the receiver lets its sessions go on at the end.
const sinkGrace = time.Second

// serveSink serves the receiver until stop is called.
func serveSink(l net.Listener, o sink.Options) (stop func()) {
	server := smtpserver.New(smtpserver.Options{Listener: "sink", Hostname: Domain, Logger: o.Logger}, sink.Handler(o))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(context.Background(), l); err != nil {
			o.Logger.Error("the receiver ended", "error", err)
		}
	})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), sinkGrace)
		defer cancel()
		// Sessions that do not end by then are cut off; nothing is lost that matters.
		_ = server.Shutdown(ctx)
		serving.Wait()
	}
}

// lifetime of the throw-away certificate.
const lifetime = 30 * 24 * time.Hour

// throwAway makes the certificate of the server, and returns its files.
func throwAway(dir string) (certificate, key string, err error) {
	made, err := certs.SelfSigned(certs.Options{Names: []string{hostname, "localhost"}, Lifetime: lifetime})
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	return certificate, key, certs.Save(made, certificate, key)
}

package admin

import (
	"context"
	"net"

	"postern/internal/limit"
)

// actorKey is the key of the actor in the context of a request.
type actorKey struct{}

// nobody is the actor where the system does not tell who is at the other end.
const nobody = "unknown"

// withPeer notes who is at the other end of a connection: for a Unix socket
// the user whose process connected, as the kernel says.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if limited, ok := conn.(*limit.Conn); ok {
		conn = limited.NetConn()
	}
	switch conn := conn.(type) {
	case *net.UnixConn:
		return context.WithValue(ctx, actorKey{}, peerName(conn))
	case ownPipe:
		return context.WithValue(ctx, actorKey{}, ownName())
	}
	return ctx
}

// actor returns who asks; "" when that must be shown by a token first.
func actor(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}

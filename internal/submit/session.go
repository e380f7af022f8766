package submit

import (
	"context"
	"errors"
	"io"
	"net"
)

// Talk connects a program that speaks SMTP on its standard input and output
// with the server (-bs). A program that ends without QUIT is taken to have
// said it: nothing is lost by that, since what it has to answer is answered.
//
// It fails with an *Error, TempFail when the server is not there; then the
// program is told with 421.
func (cl *Client) Talk(ctx context.Context, in io.Reader, out io.Writer) error {
	dialer := net.Dialer{Timeout: connectPatience}
	conn, err := dialer.DialContext(ctx, "unix", cl.Directory.Socket())
	if err != nil {
		io.WriteString(out, "421 4.3.2 No server takes mail here at present, try again later\r\n")
		return failf(TempFail, "no server takes mail at present: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	socket := conn.(*net.UnixConn) // which is what "unix" gives
	go func() {                    // ends with the process, or when conn is closed and in gives something
		io.Copy(socket, in)
		io.WriteString(socket, "QUIT\r\n")
		socket.CloseWrite()
	}()
	if _, err := io.Copy(out, conn); err != nil && !errors.Is(err, net.ErrClosed) {
		return failf(IOErr, "the connection with the server broke: %w", err)
	}
	if ctx.Err() != nil {
		return failf(TempFail, "interrupted")
	}
	return nil
}

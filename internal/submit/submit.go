// Package submit takes mail from programs that run on this host, as the
// command sendmail: it has both ends, the command that a program starts
// (Command, Client) and the part of the server that collects what was left
// while no server ran (Pickup).
//
// Everything goes through one directory. In it lies the socket at which the
// server speaks SMTP, and the directory into which the command puts a message
// when the server cannot take it now. The command needs neither privileges
// nor the configuration; who calls it the kernel says: the socket's peer, or
// the owner of the file. What comes in goes through intake like all other mail.
//
// How it fails: the command with an *Error, which has an exit code of
// sysexits.h and a text for the person. Then nothing was accepted: a message is
// taken for all its recipients, or for none. A file that is no message is
// removed, with the fact "refused"; of one that was refused its sender is told.
package submit

import (
	"fmt"
	"path/filepath"
)

// Listener is what the origin of mail from users of this host has for its
// listener.
const Listener = "sendmail"

// Directory is where command and server meet.
type Directory string

// DefaultDirectory is where the command looks unless it is told otherwise.
const DefaultDirectory Directory = "/var/spool/postern"

// Socket is the path of the socket at which the server takes mail.
func (d Directory) Socket() string { return filepath.Join(string(d), "socket") }

// drop is where messages are left for the server: anybody may put a file into
// it, and nobody but the server may see what is there.
func (d Directory) drop() string { return filepath.Join(string(d), "drop") }

// taken is where the server works on them: it alone has access.
func (d Directory) taken() string { return filepath.Join(string(d), "taken") }

// Names of files in the drop directory begin so: while they are written, and
// when they are whole.
const (
	writing = "w-"
	whole   = "m-"
)

// ExitCode is an exit code of sysexits.h, which callers of sendmail know.
type ExitCode int

// The exit codes.
const (
	Usage       ExitCode = 64 // the command line
	DataErr     ExitCode = 65 // the message, or an address in it
	NoUser      ExitCode = 67 // a recipient does not exist
	Unavailable ExitCode = 69 // refused, or no server was ever here
	Software    ExitCode = 70 // an error in the program
	OSErr       ExitCode = 71 // the user has no name
	CantCreate  ExitCode = 73 // the file for the message cannot be made
	IOErr       ExitCode = 74 // standard input or the disk failed
	TempFail    ExitCode = 75 // it cannot be taken now
	NoPerm      ExitCode = 77 // the user may not do it
	Config      ExitCode = 78 // the configuration that was named is wrong
)

// Error is why the command failed.
type Error struct {
	Code ExitCode
	Err  error
}

// Error returns the text for the person who reads what the command printed.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failf returns an Error.
func failf(code ExitCode, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

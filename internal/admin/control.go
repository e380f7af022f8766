package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/config"
)

// Controller changes how a server runs. An error of it is for the operator as
// it is; actor is who asked.
type Controller interface {
	// Reload reads the configuration again and puts it in force.
	Reload(actor string) (Reloaded, error)
	// StopListener closes a listener until it is started again, or the process
	// ends; StartListener opens it again.
	StopListener(name, actor string) error
	StartListener(name, actor string) error
	// SetLogLevel holds until the process ends, or until a reload finds that
	// the setting has changed.
	SetLogLevel(level slog.Level, actor string)
}

// Reloaded is what a reload did. Without changes it did nothing.
type Reloaded struct {
	// Generation counts the configurations that were in force.
	Generation uint64 `json:"generation"`
	// Changes are in force now; Pending are those that wait for a restart.
	Changes []config.Change `json:"changes"`
	Pending []config.Change `json:"pending"`
	// Warnings are what is allowed but unwise.
	Warnings []config.Problem `json:"warnings"`
}

// ReloadFailure is a reload that failed.
type ReloadFailure struct {
	At       time.Time `json:"at"`
	Problems []string  `json:"problems"`
}

// LogLevel is the level of the log.
type LogLevel struct {
	Level      slog.Level `json:"level"`
	Configured slog.Level `json:"configured"`
}

// ListenerState says whether a listener takes clients.
type ListenerState string

// The states of a listener.
const (
	ListenerOpen    ListenerState = "open"
	ListenerStopped ListenerState = "stopped" // by hand
	ListenerClosing ListenerState = "closing" // takes no more; those that are there end
)

// listenerName names a listener in a path.
type listenerName struct {
	Name string `path:"name" maxLength:"64" doc:"The name of a listener"`
}

// wantedLevel is a level that is asked for.
type wantedLevel struct {
	Body struct {
		Level string `json:"level" enum:"debug,info,warn,error" doc:"The level of the log"`
	}
}

func (s *Server) controlOperations() {
	answer(s, huma.Operation{OperationID: "reload", Method: http.MethodPost, Path: "/v1/reload",
		Summary: "Read the configuration again and put it in force, whole or not at all"}, s.reload)
	act(s, huma.Operation{OperationID: "stop-listener", Method: http.MethodPost, Path: "/v1/listeners/{name}/stop",
		Summary: "Close a listener until it is started again, or the server is"}, s.stopListener)
	act(s, huma.Operation{OperationID: "start-listener", Method: http.MethodPost, Path: "/v1/listeners/{name}/start",
		Summary: "Open a listener that was stopped"}, s.startListener)
	act(s, huma.Operation{OperationID: "set-log-level", Method: http.MethodPut, Path: "/v1/log-level",
		Summary: "Set the level of the log until the server ends, or a reload changes it"}, s.setLogLevel)
}

func (s *Server) reload(ctx context.Context, _ *struct{}) (Reloaded, error) {
	done, err := s.Control.Reload(actor(ctx))
	if err != nil {
		return Reloaded{}, &Problem{Status: http.StatusUnprocessableEntity, Title: "Not reloaded", Detail: err.Error()}
	}
	return done, nil
}

func (s *Server) stopListener(ctx context.Context, in *listenerName) error {
	return notDone(s.Control.StopListener(in.Name, actor(ctx)))
}

func (s *Server) startListener(ctx context.Context, in *listenerName) error {
	return notDone(s.Control.StartListener(in.Name, actor(ctx)))
}

func notDone(err error) error {
	if err == nil {
		return nil
	}
	return &Problem{Status: http.StatusConflict, Title: "Not done", Detail: err.Error()}
}

func (s *Server) setLogLevel(ctx context.Context, in *wantedLevel) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(in.Body.Level)); err != nil {
		return badRequest(err)
	}
	s.Control.SetLogLevel(level, actor(ctx))
	return nil
}

// Reload asks the server to read its configuration again. It fails with a
// *Problem whose detail has a line for each thing that is wrong.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	var done Reloaded
	return done, c.get(ctx, post("/v1/reload", nil), &done)
}

// StopListener closes a listener until it is started again.
func (c *Client) StopListener(ctx context.Context, name string) error {
	return c.tell(ctx, post("/v1/listeners/"+url.PathEscape(name)+"/stop", nil))
}

// StartListener opens a listener that was stopped.
func (c *Client) StartListener(ctx context.Context, name string) error {
	return c.tell(ctx, post("/v1/listeners/"+url.PathEscape(name)+"/start", nil))
}

// SetLogLevel changes the level of the log.
func (c *Client) SetLogLevel(ctx context.Context, level slog.Level) error {
	var wanted wantedLevel
	wanted.Body.Level = strings.ToLower(level.String())
	return c.tell(ctx, request{method: http.MethodPut, path: "/v1/log-level", body: wanted.Body})
}

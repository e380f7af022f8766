package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/pool"
	"postern/internal/queue"
)

// jsonLines is the type of an answer of JSON lines.
const jsonLines = "application/jsonl"

// newAPI returns the API without its operations. Its description is at
// /v1/openapi.json and /v1/openapi.yaml.
func newAPI(mux *http.ServeMux) huma.API {
	c := huma.DefaultConfig("Postern administration", "1")
	c.Info.Description = "All that an operator can do to a running Postern. Streams are JSON lines; " +
		"the last line says how they ended. Errors are problem documents (RFC 9457)."
	c.OpenAPIPath = "/v1/openapi"
	c.DocsPath, c.SchemasPath = "", ""
	c.RejectUnknownQueryParameters = true
	c.CreateHooks = nil // no "$schema" in every answer
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[config.Value](), reflect.TypeFor[any]()) // text, a number, a list
	c.Formats = map[string]huma.Format{"application/json": plainFormat, "json": plainFormat}
	return humago.New(mux, c)
}

// plainFormat is JSON that a terminal can show.
var plainFormat = huma.Format{
	Marshal: func(w io.Writer, value any) error {
		return huma.DefaultJSONFormat.Marshal(mail.PlainJSONWriter(w), value)
	},
	Unmarshal: huma.DefaultJSONFormat.Unmarshal,
}

// schemaName names the types of two packages apart that have one name.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[queue.Recipient](), reflect.TypeFor[queue.Change]():
		return "Queued" + name
	case reflect.TypeFor[config.Problem](), reflect.TypeFor[config.Change]():
		return "Configuration" + name
	case reflect.TypeFor[User](), reflect.TypeFor[Domain](), reflect.TypeFor[Alias](), reflect.TypeFor[List]():
		return "Directory" + name
	case reflect.TypeFor[pool.View]():
		return "Pool"
	case reflect.TypeFor[pool.Server]():
		return "Target" + name
	}
	return name
}

// output is an answer of one value.
type output[T any] struct{ Body T }

// answer makes h answer the requests of an operation with one value.
func answer[In, Out any](s *Server, o huma.Operation, h func(context.Context, *In) (Out, error)) {
	huma.Register(s.api, s.operation(o), func(ctx context.Context, in *In) (*output[Out], error) {
		value, err := h(ctx, in)
		if err != nil {
			return nil, s.problem(o.Path, err)
		}
		return &output[Out]{value}, nil
	})
}

// act makes h do what an operation is for, which has no answer but that it
// is done.
func act[In any](s *Server, o huma.Operation, h func(context.Context, *In) error) {
	huma.Register(s.api, s.operation(o), func(ctx context.Context, in *In) (*struct{}, error) {
		if err := h(ctx, in); err != nil {
			return nil, s.problem(o.Path, err)
		}
		return nil, nil
	})
}

// stream makes h answer with lines of type Line. What h returns before it
// sends anything is a problem document; later it is told in the last line.
func stream[In, Line any](s *Server, o huma.Operation, h func(context.Context, *In, *lines[Line]) error) {
	o = s.operation(o)
	o.Responses = map[string]*huma.Response{"200": {
		Description: "A JSON object in each line",
		Content:     map[string]*huma.MediaType{jsonLines: {Schema: s.schema(reflect.TypeFor[Line]())}},
	}}
	huma.Register(s.api, o, func(ctx context.Context, in *In) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			_, w := humago.Unwrap(c)
			out := newLines[Line](w)
			s.finish(ctx, o.Path, out, h(ctx, in, out))
		}}, nil
	})
}

// ender ends a stream.
type ender interface{ end(*Problem) }

// finish tells the client how a stream ended, unless it has left.
func (s *Server) finish(ctx context.Context, path string, out ender, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		out.end(nil)
		return
	}
	out.end(s.problem(path, err))
}

// lines is a stream of lines on its way out.
type lines[Line any] struct {
	w       http.ResponseWriter
	control *http.ResponseController
	encoder *json.Encoder
	begun   bool
	allowed time.Time // when the client was last given time
}

func newLines[Line any](w http.ResponseWriter) *lines[Line] {
	l := &lines[Line]{w: w, control: http.NewResponseController(w), encoder: json.NewEncoder(mail.PlainJSONWriter(w))}
	l.encoder.SetEscapeHTML(false)
	return l
}

// flush sends what was written, and gives the client its time to take it.
func (l *lines[Line]) flush() error {
	l.allow()
	return l.control.Flush()
}

// allow lets the client take its time again, now and then.
func (l *lines[Line]) allow() {
	if now := time.Now(); now.Sub(l.allowed) > stallTimeout/4 {
		l.allowed = now
		_ = l.control.SetWriteDeadline(now.Add(stallTimeout)) // fails when the client has left
	}
}

// begin sends the header, so that a client need not wonder whether the server
// is there. It fails when the client has left.
func (l *lines[Line]) begin() error {
	l.head(http.StatusOK, jsonLines)
	return l.flush()
}

func (l *lines[Line]) head(status int, kind string) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", kind)
		l.w.WriteHeader(status)
	}
}

// send sends a line, which may wait for others to go with it.
func (l *lines[Line]) send(line Line) error {
	l.head(http.StatusOK, jsonLines)
	l.allow()
	return l.encoder.Encode(line)
}

// sendNow sends a line without delay.
func (l *lines[Line]) sendNow(line Line) error { return errors.Join(l.send(line), l.flush()) }

// lastLine is the last line of a stream that failed.
type lastLine struct {
	Problem *Problem `json:"problem"`
}

// end ends the stream, with a problem when it failed. What fails here fails
// because the client has left.
func (l *lines[Line]) end(problem *Problem) {
	l.allow()
	switch {
	case problem == nil:
		l.head(http.StatusOK, jsonLines)
	case l.begun:
		_ = l.encoder.Encode(lastLine{problem})
	default:
		l.head(problem.Status, problemType)
		_ = l.encoder.Encode(problem)
	}
}

// operation adds what all operations share.
func (s *Server) operation(o huma.Operation) huma.Operation {
	o.MaxBodyBytes, o.BodyReadTimeout = cmp.Or(s.large[o.Path], maxBody)+1, -1 // the body is there: see whole
	s.methods[o.Path] = append(s.methods[o.Path], o.Method)
	return o
}

func (s *Server) schema(t reflect.Type) *huma.Schema {
	return s.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

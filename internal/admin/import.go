package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Importer takes messages of another queue in.
type Importer interface {
	Import(ctx context.Context, b intake.Batch) (*intake.Import, error)
	Imported(ctx context.Context, export mail.ID) (intake.Extent, error)
}

// MaxBatch is how many messages of an export come in one request.
const MaxBatch = 1000

// maxEntry bounds an entry as JSON, in octets.
const maxEntry = 16 << 20

// Imported is what became of a batch.
type Imported struct {
	intake.Extent
	// IDs are the ids that the messages have in this queue, by the old ones.
	IDs map[mail.ID]mail.ID `json:"ids"`
	// Refused are messages that cannot be taken as they are.
	Refused []Refused `json:"refused,omitempty"`
}

// Refused is a message that was not imported.
type Refused struct {
	ID    mail.ID `json:"id"`
	Cause string  `json:"cause"`
}

func (s *Server) importOperations() {
	answer(s, huma.Operation{OperationID: "imported", Method: http.MethodGet, Path: "/v1/imports/{export}",
		Summary: "How far an export was imported"}, s.imported)
	answer(s, huma.Operation{OperationID: "import", Method: http.MethodPost, Path: importPath,
		Summary: "Import a stretch of an export: all of it that can be taken, in one commit, and never twice",
		RequestBody: &huma.RequestBody{Required: true,
			Description: "The batch; then of each message its entry as JSON, and its content",
			Content:     map[string]*huma.MediaType{multipartType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
	}, s.importMessages)
}

// importPath is where a batch is sent to.
const importPath = "/v1/imports"

const multipartType = "multipart/mixed"

type importedInput struct {
	Export string `path:"export" doc:"The id of the export"`
}

func (s *Server) imported(ctx context.Context, in *importedInput) (intake.Extent, error) {
	id, err := parseID(in.Export)
	if err != nil {
		return intake.Extent{}, err
	}
	return s.Importer.Imported(ctx, id)
}

// importInput is the body of a request, which is read as it comes.
type importInput struct{ parts *multipart.Reader }

// Resolve takes the body. It is exported for huma.
func (in *importInput) Resolve(c huma.Context) []error {
	r, w := humago.Unwrap(c)
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != multipartType {
		return []error{&huma.ErrorDetail{Location: "header.content-type", Message: "must be " + multipartType}}
	}
	in.parts = multipart.NewReader(&patientReader{body: r.Body, control: http.NewResponseController(w)}, parameters["boundary"])
	return nil
}

// patientReader gives the client its time for each stretch of the body.
type patientReader struct {
	body    io.Reader
	control *http.ResponseController
	allowed time.Time
}

func (r *patientReader) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(r.allowed) > stallTimeout/4 {
		r.allowed = now
		_ = r.control.SetReadDeadline(now.Add(stallTimeout)) // fails when the client has left
		_ = r.control.SetWriteDeadline(now.Add(2 * stallTimeout))
	}
	return r.body.Read(p)
}

func (s *Server) importMessages(ctx context.Context, in *importInput) (result Imported, err error) {
	var batch importBatch
	if err := nextJSON(in.parts, &batch); err != nil {
		return result, err
	}
	if _, err := parseID(string(batch.Export)); err != nil {
		return result, err
	}
	if batch.Messages < 0 || batch.Messages > MaxBatch {
		return result, badRequest(fmt.Errorf("%d messages; a batch has at most %d", batch.Messages, MaxBatch))
	}
	batch.Actor = actor(ctx)
	im, err := s.Importer.Import(ctx, batch.Batch)
	if err != nil {
		return result, importProblem(err)
	}
	defer im.Discard()
	for range batch.Messages {
		var e queue.Entry
		if err := nextJSON(in.parts, &e); err != nil {
			return result, err
		}
		content, err := in.parts.NextRawPart()
		if err != nil {
			return result, badRequest(fmt.Errorf("message %s: its content is missing: %w", e.ID, err))
		}
		err = im.Add(ctx, e, content)
		if errors.Is(err, intake.ErrUnfit) {
			result.Refused = append(result.Refused, Refused{ID: e.ID, Cause: err.Error()})
		} else if err != nil {
			return result, importProblem(err)
		}
	}
	var failed []mail.ID
	for _, r := range result.Refused {
		failed = append(failed, r.ID)
	}
	result.IDs = im.Imported
	result.Extent, err = im.Commit(ctx, failed)
	return result, importProblem(err)
}

// importBatch is the first part of a request. It says how many messages
// follow, so that a body that was cut short is not taken for a whole one.
type importBatch struct {
	intake.Batch
	Messages int `json:"messages"`
}

// nextJSON reads the next part.
func nextJSON(parts *multipart.Reader, into any) error {
	part, err := parts.NextRawPart()
	if err == nil {
		decoder := json.NewDecoder(io.LimitReader(part, maxEntry))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(into)
	}
	if err != nil {
		return badRequest(fmt.Errorf("the body is not what it should be: %w", err))
	}
	return nil
}

// importProblem says what an importer cannot do at present in the words that
// a client of SMTP hears.
func importProblem(err error) error {
	refusal, refused := errors.AsType[*mail.Error](err)
	switch {
	case errors.Is(err, intake.ErrMovedOn):
		return &Problem{Status: http.StatusConflict, Title: "Imported meanwhile", Detail: err.Error()}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest(fmt.Errorf("the body was cut short: %w", err))
	case refused && refusal.Reply != mail.LocalError:
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Not taken at present", Detail: refusal.Reply.String()}
	}
	return err
}

package admin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/mail"
)

// Format is the form of a file of records.
type Format = directory.Format

// The forms of files.
const (
	FormatCSV  = directory.CSV
	FormatJSON = directory.JSON
)

// MaxRecordFile bounds a file of records, in octets: other changes wait while it is read.
const MaxRecordFile = 256 << 20

func mediaType(f Format) string {
	if f == FormatJSON {
		return "application/json"
	}
	return "text/csv"
}

// ImportedRecords is what an import of records has done, or would do.
type ImportedRecords struct {
	Created int  `json:"created"`
	Changed int  `json:"changed"`
	Removed int  `json:"removed"`
	Same    int  `json:"same"`
	DryRun  bool `json:"dry_run,omitempty" doc:"Nothing was changed"`
}

// ImportLine is a line of the answer to an import: one of its members is set.
type ImportLine struct {
	Imported *ImportedRecords `json:"imported,omitempty"`
	Problem  *Problem         `json:"problem,omitempty"`
}

func (l *ImportLine) failed() *Problem { return l.Problem }

// LineFault is something that is wrong in a file of records.
type LineFault struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Problem is the fault as that of a file.
func (f *LineFault) Problem(file string) config.Problem {
	return config.Problem{Place: mail.Place{File: file, Line: f.Line, Column: f.Column}, Message: f.Message, Hint: f.Hint}
}

// RecordImport says how a file of records is imported.
type RecordImport struct {
	Format Format
	// Replace removes the records that are not in the file.
	Replace bool
	// DryRun does everything but the change.
	DryRun bool
}

// fileOperations adds import and export.
func (o *recordOps[R]) fileOperations() {
	many := o.many
	files := map[string]*huma.MediaType{}
	for _, f := range []Format{FormatCSV, FormatJSON} {
		files[mediaType(f)] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	path := "/v1/import/" + many
	o.s.large[path] = MaxRecordFile
	stream(o.s, huma.Operation{OperationID: "import-" + many, Method: http.MethodPost, Path: path,
		Summary:          "Make " + many + " of what a file says: all of it, or nothing if something is wrong, which is told with its line",
		SkipValidateBody: true, RequestBody: &huma.RequestBody{Required: true, Content: files}}, o.importFile)
	export := o.s.operation(huma.Operation{OperationID: "export-" + many, Method: http.MethodGet, Path: "/v1/export/" + many,
		Summary:   "All " + many + " as a file, without what is secret",
		Responses: map[string]*huma.Response{"200": {Description: "The file", Content: files}}})
	huma.Register(o.s.api, export, func(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
		if !o.s.exporting.TryLock() { // each keeps a snapshot as long as it takes
			return nil, o.s.problem(export.Path, fmt.Errorf("an export: %w", ErrBusy))
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer o.s.exporting.Unlock()
			_, w := humago.Unwrap(c)
			o.export(ctx, w, in.Format)
		}}, nil
	})
}

type exportInput struct {
	Format Format `query:"format" enum:"csv,json" default:"csv" doc:"csv, or json: one document"`
}

// patientWriter gives the client its time for what it is sent.
type patientWriter struct{ *lines[struct{}] }

func (w patientWriter) Write(p []byte) (int, error) {
	w.allow()
	return w.w.Write(p)
}

// export writes all records. When it fails midway the connection is cut, so that nobody
// takes what came for all.
func (o *recordOps[R]) export(ctx context.Context, w http.ResponseWriter, format Format) {
	w.Header().Set("Content-Type", mediaType(format))
	err := o.s.Records.Directory.Export(ctx, patientWriter{newLines[struct{}](w)}, directory.ExportOptions{Format: format, Kinds: []directory.Kind{o.kind}})
	if err != nil {
		o.s.Logger.Error("an export was cut short", "of", o.many, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// recordFileInput is a file of records.
type recordFileInput struct {
	Format  Format `query:"format" enum:"csv,json" default:"csv" doc:"csv, or json: one document"`
	Replace bool   `query:"replace" doc:"Remove the records that are not in the file"`
	DryRun  bool   `query:"dry_run" doc:"Say what would be done, and change nothing"`
	RawBody []byte
}

func (o *recordOps[R]) importFile(ctx context.Context, in *recordFileInput, out *lines[ImportLine]) error {
	if err := out.begin(); err != nil { // a large file takes its time
		return nil // the client has left
	}
	done, err := o.s.Records.Directory.Import(ctx, actor(ctx), bytes.NewReader(in.RawBody), directory.ImportOptions{
		Format: in.Format, Kind: o.kind, Replace: in.Replace, DryRun: in.DryRun, CheckRoute: o.s.routeIsKnown,
	})
	if wrong, is := errors.AsType[*directory.ImportProblems](err); is {
		return notImported(wrong)
	}
	if err != nil {
		return recordProblem(err)
	}
	return out.send(ImportLine{Imported: &ImportedRecords{done.Created, done.Changed, done.Removed, done.Same, in.DryRun}})
}

// notImported tells all that is wrong in a file.
func notImported(wrong *directory.ImportProblems) *Problem {
	p := &Problem{Status: http.StatusUnprocessableEntity, Title: "Not imported"}
	for _, w := range wrong.List {
		p.Faults = append(p.Faults, LineFault{Line: w.Line, Column: w.Column, Message: w.Problem, Hint: w.Hint})
	}
	slices.SortStableFunc(p.Faults, func(a, b LineFault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	switch n := len(wrong.List) + wrong.More; {
	case n == 1:
		p.Detail = "nothing was imported: one thing is wrong"
	case wrong.More > 0:
		p.Detail = fmt.Sprintf("nothing was imported: %d things are wrong, of which the first %d are told", n, len(wrong.List))
	default:
		p.Detail = fmt.Sprintf("nothing was imported: %d things are wrong", n)
	}
	return p
}

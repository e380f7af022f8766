package admin

import (
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Importing is a message on its way into the queue.
type Importing struct {
	Entry   queue.Entry
	Content io.Reader // of Entry.Size octets
}

// Imported tells how far an export was imported.
func (c *Client) Imported(ctx context.Context, export mail.ID) (intake.Extent, error) {
	var p intake.Extent
	return p, c.get(ctx, request{method: http.MethodGet, path: "/v1/imports/" + url.PathEscape(string(export))}, &p)
}

// Import imports a batch. Errors: a Problem with status 409 when it begins
// where the import does not stand any more.
func (c *Client) Import(ctx context.Context, b intake.Batch, messages []Importing) (Imported, error) {
	var result Imported
	in, out := io.Pipe()
	parts := multipart.NewWriter(out)
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = out.CloseWithError(writeBatch(parts, b, messages)) // never fails
	}()
	err := c.get(ctx, request{
		method: http.MethodPost, path: "/v1/imports", stream: in, kind: multipartType + "; boundary=" + parts.Boundary(),
	}, &result)
	in.Close() // an answer before its end leaves the rest unread
	<-written
	return result, err
}

func writeBatch(parts *multipart.Writer, b intake.Batch, messages []Importing) error {
	if err := writeJSON(parts, importBatch{b, len(messages)}); err != nil {
		return err
	}
	for _, m := range messages {
		if err := writeJSON(parts, m.Entry); err != nil {
			return err
		}
		w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {contentType}})
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, m.Content); err != nil {
			return err
		}
	}
	return parts.Close()
}

func writeJSON(parts *multipart.Writer, value any) error {
	w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(value)
}

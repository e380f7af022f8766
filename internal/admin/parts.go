package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
)

// Parts are what is in a message, as far as readers of mail may see it.
type Parts struct {
	// Readable says that all readers of mail see the same.
	Readable bool   `json:"readable"`
	Parts    []Part `json:"parts"` // the message itself first
}

// Part is a message, or a part of one.
type Part struct {
	// Path says where it is: "1" is the message, "1.2" its second part.
	Path string `json:"path"`
	// Types are the types that it declares: of several, readers of mail take one
	// or another. So it is with Encodings.
	Types     []string `json:"types"`
	Names     []string `json:"names"` // of files, decoded
	Encodings []string `json:"encodings"`
	Size      int64    `json:"size"` // in octets, encoded as it is; 0 of what consists of parts
	// Defects are why it cannot be read with certainty.
	Defects []message.Defect `json:"defects"`
}

func (s *Server) partOperations() {
	answer(s, huma.Operation{OperationID: "parts", Method: http.MethodGet, Path: "/v1/messages/{id}/parts",
		Summary: "The MIME parts of a message in the queue"}, s.parts)
	const octets = "application/octet-stream"
	o := s.operation(huma.Operation{OperationID: "part", Method: http.MethodGet, Path: "/v1/messages/{id}/parts/{part}",
		Summary: "The content of a part, decoded: as octets, whatever it says that it is",
		Responses: map[string]*huma.Response{"200": {Description: "The content",
			Content: map[string]*huma.MediaType{octets: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}})
	huma.Register(s.api, o, func(ctx context.Context, in *partInput) (*huma.StreamResponse, error) {
		one, err := s.part(ctx, in)
		if err != nil {
			return nil, s.problem(o.Path, err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer one.body.Close()
			_, w := humago.Unwrap(c)
			s.sendOctets(w, octets, one.part.Content(one.body), one.size)
		}}, nil
	})
}

type partInput struct {
	ID   string `path:"id" doc:"The id of the message"`
	Part string `path:"part" maxLength:"400" doc:"The path of the part: 1.2"`
}

// opened is a part, and the content that it is in.
type opened struct {
	body queue.Body
	part message.Part
	size int64 // decoded
}

func (s *Server) parts(ctx context.Context, in *messageInput) (Parts, error) {
	all := Parts{Parts: []Part{}}
	body, found, err := s.inspect(ctx, in.ID)
	if err != nil {
		return all, err
	}
	defer body.Close()
	all.Readable = found.Readable()
	for _, p := range found.Parts {
		part := Part{Path: p.Path, Types: p.Types, Names: append([]string{}, p.Names...), Encodings: p.Encodings, Size: p.Size, Defects: []message.Defect{}}
		for _, d := range found.Defects {
			if d.Path == p.Path {
				part.Defects = append(part.Defects, d.Defect)
			}
		}
		all.Parts = append(all.Parts, part)
	}
	return all, nil
}

// inspect opens a content and looks at what is in it.
func (s *Server) inspect(ctx context.Context, id string) (queue.Body, *message.Inspection, error) {
	entry, err := s.get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	body, err := s.Queue.Body(ctx, entry.Body)
	if err != nil {
		return nil, nil, err
	}
	found, err := message.Inspect(io.NewSectionReader(body, 0, body.Size()), message.InspectLimits{})
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	return body, found, nil
}

// part finds a part. It reads it once, so that nothing is sent of one that
// cannot be read whole.
func (s *Server) part(ctx context.Context, in *partInput) (*opened, error) {
	body, found, err := s.inspect(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(found.Parts, func(p message.Part) bool { return p.Path == in.Part })
	if at < 0 {
		body.Close()
		return nil, &Problem{Status: http.StatusNotFound, Title: "No such part", Detail: fmt.Sprintf("message %s has no part %q", in.ID, in.Part)}
	}
	one := &opened{body: body, part: found.Parts[at]}
	if one.size, err = io.Copy(io.Discard, one.part.Content(body)); err != nil {
		body.Close()
		return nil, err
	}
	return one, nil
}

func partsPath(id mail.ID) string { return messagePath(id) + "/parts" }

// Parts returns the parts of a message in the queue. Errors: a Problem with
// status 404.
func (c *Client) Parts(ctx context.Context, id mail.ID) (p Parts, err error) {
	return p, c.get(ctx, request{method: http.MethodGet, path: partsPath(id)}, &p)
}

// Part opens the decoded content of a part of a message in the queue. Close it.
// Errors: a Problem with status 404; io.ErrUnexpectedEOF when it turns out
// damaged.
func (c *Client) Part(ctx context.Context, id mail.ID, part string) (io.ReadCloser, error) {
	return c.do(ctx, request{method: http.MethodGet, path: partsPath(id) + "/" + url.PathEscape(part)})
}

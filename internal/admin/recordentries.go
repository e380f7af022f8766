package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/directory"
)

// EntryChange is which entries of a list come and go, together or not at all.
type EntryChange struct {
	Add    []string `json:"add,omitempty" maxItems:"10000" doc:"What is there already stays"`
	Remove []string `json:"remove,omitempty" maxItems:"10000" doc:"What is not there is an error"`
}

type entriesInput struct {
	Name string `path:"name" maxLength:"64" doc:"The name of the list"`
	Body EntryChange
}

// EntriesChanged is how many entries a list has after a change.
type EntriesChanged struct {
	Name    string `json:"name"`
	Before  int    `json:"before"`
	Entries int    `json:"entries"`
}

func (s *Server) entryOperations() {
	answer(s, huma.Operation{OperationID: "change-entries", Method: http.MethodPost, Path: "/v1/lists/{name}/entries",
		Summary: "Add entries to a list, and remove some"}, s.changeEntries)
}

func (s *Server) changeEntries(ctx context.Context, in *entriesInput) (done EntriesChanged, err error) {
	err = s.Records.Directory.Change(ctx, actor(ctx), func(tx *directory.Tx) error {
		before, there := tx.List(in.Name)
		if !there {
			return notRecorded(directory.Key{Kind: directory.KindList, Name: in.Name})
		}
		if err := tx.RemoveEntries(in.Name, in.Body.Remove...); err != nil {
			return err
		}
		if err := tx.AddEntries(in.Name, in.Body.Add...); err != nil {
			return err
		}
		after, _ := tx.List(in.Name)
		done = EntriesChanged{Name: after.Name, Before: len(before.Entries), Entries: len(after.Entries)}
		return s.fit(tx, in.Name)
	})
	return done, recordProblem(err)
}

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/credentials"
	"postern/internal/directory"
	"postern/internal/senders"
)

// Records is what the operations for records need.
type Records struct {
	Directory *directory.Directory
	// Senders is the inventory of who sends.
	Senders *senders.Inventory
	// Seal makes what is stored of a password. Its error is for the operator as it is.
	Seal func(ctx context.Context, password string) (hash, scram string, err error)
	// Keys seal the secrets of credentials; the keyring may be another after a reload.
	Keys func() *credentials.Keyring
	// TestLogin logs in at a server as deliveries do, and sends nothing.
	TestLogin func(ctx context.Context, t CredentialTest) (CredentialTested, error)
	// Troubles are why credentials cannot be used at present. Nil: nobody knows.
	Troubles func() []credentials.Trouble
	// CredentialChanged is told which was added or changed. Nil: nobody wants to know.
	CredentialChanged func(name string)
	// Lifted is told of a ban that was lifted. Nil: nobody wants to know.
	Lifted func(subject string)
	// CheckList says why a list for policy cannot be as it is to be.
	CheckList func(*directory.List) error
	// Advise says what is allowed but unwise about a local domain; it may ask DNS.
	Advise func(ctx context.Context, domain string) []string
}

// Stored is a record as it is after a change.
type Stored[R any] struct {
	Record   R        `json:"record"`
	Warnings []string `json:"warnings,omitempty"`
}

// RecordLine is a line of a listing of records: one of its members is set.
type RecordLine[R any] struct {
	Record  *R       `json:"record,omitempty"`
	Problem *Problem `json:"problem,omitempty"` // in the last line
}

func (l *RecordLine[R]) failed() *Problem { return l.Problem }

// noun is a kind of record, as operations and files have it.
type noun[R any] struct {
	kind directory.Kind
	many string // in paths
	// unfiled are not written to files, nor read from them.
	unfiled bool
	// blank returns a record of which nothing has been said.
	blank func() R
	// key returns what names the record.
	key func(*R) directory.Key
	// page returns the records behind one, in order; complete adds what is told of them
	// beside that.
	page     func(r *directory.Reader, after RecordName, limit int) ([]R, error)
	complete func(d *directory.Directory, r *R)
	get      func(from reader, key directory.Key) (R, bool)
	put      func(tx *directory.Tx, r *R) error
	remove   func(tx *directory.Tx, key directory.Key) error
	// prepare does what takes long, before the change, and take hands that over to the
	// record that is changed.
	prepare func(ctx context.Context, s *Server, r *R) error
	take    func(r, prepared *R)
	// check says what is wrong in what follows from the record.
	check func(s *Server, tx *directory.Tx, r *R) error
	// stored does what follows from a change, once that is made.
	stored func(s *Server, r *R)
	// advise says what is unwise.
	advise func(ctx context.Context, s *Server, r *R) []string
	// matches reports whether a record has a text; for listings.
	matches func(r *R, text string) bool
}

// reader is a directory, or a change of it under way, which sees what it has changed.
type reader interface {
	User(login string) (directory.User, bool)
	Domain(name string) (directory.Domain, bool)
	Alias(owner, address string) (directory.Alias, bool)
	List(name string) (directory.List, bool)
}

func (s *Server) recordOperations() {
	recordsOf(s, users)
	recordsOf(s, domains)
	recordsOf(s, aliases)
	recordsOf(s, listRecords)
	recordsOf(s, s.credentialRecords())
	s.credentialOperations()
	s.entryOperations()
	s.banOperations()
	s.senderOperations()
}

// recordsOf adds the operations for one kind of record.
func recordsOf[R any](s *Server, n noun[R]) {
	o := &recordOps[R]{s: s, noun: n.withDefaults()}
	one, many := string(n.kind), n.many
	path, of := "/v1/"+many, "/v1/"+many+"/{name}"
	body := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: s.schema(reflect.TypeFor[R]())}}}
	stream(s, huma.Operation{OperationID: many, Method: http.MethodGet, Path: path,
		Summary: "The " + many + ", in order of their names, without what is secret"}, o.listed)
	answer(s, huma.Operation{OperationID: "show-" + one, Method: http.MethodGet, Path: of, Summary: "One " + one}, o.show)
	answer(s, huma.Operation{OperationID: "add-" + one, Method: http.MethodPost, Path: path, RequestBody: body, SkipValidateBody: true,
		Summary: "Add one " + one}, o.add)
	answer(s, huma.Operation{OperationID: "change-" + one, Method: http.MethodPatch, Path: of, RequestBody: body, SkipValidateBody: true,
		Summary: "Change one " + one + ": what is given, and nothing else"}, o.change)
	act(s, huma.Operation{OperationID: "delete-" + one, Method: http.MethodDelete, Path: of, Summary: "Delete one " + one}, o.delete)
	if !n.unfiled {
		o.fileOperations()
	}
}

// recordOps are the operations for one kind of record.
type recordOps[R any] struct {
	s *Server
	noun[R]
}

// withDefaults lets a kind do without what it does not need.
func (n noun[R]) withDefaults() noun[R] {
	if n.blank == nil {
		n.blank = func() (r R) { return r }
	}
	if n.prepare == nil {
		n.prepare = func(context.Context, *Server, *R) error { return nil }
	}
	if n.complete == nil {
		n.complete = func(*directory.Directory, *R) {}
	}
	if n.take == nil {
		n.take = func(_, _ *R) {}
	}
	if n.check == nil {
		n.check = func(*Server, *directory.Tx, *R) error { return nil }
	}
	if n.stored == nil {
		n.stored = func(*Server, *R) {}
	}
	if n.advise == nil {
		n.advise = func(context.Context, *Server, *R) []string { return nil }
	}
	return n
}

type recordsInput struct {
	After      string `query:"after" maxLength:"1000" doc:"The name behind which to begin"`
	AfterOwner string `query:"after_owner" maxLength:"255" doc:"Its owner, of a personal alias"`
	Limit      int    `query:"limit" minimum:"0" default:"0" doc:"At most so many; 0 for all"`
	Match      string `query:"match" maxLength:"320" doc:"Only those in whose name or addresses this text is, in whatever case"`
}

func (o *recordOps[R]) listed(ctx context.Context, in *recordsInput, out *lines[RecordLine[R]]) error {
	left, after := in.Limit, RecordName{Name: in.After, Owner: in.AfterOwner}
	for {
		page, err := o.nextPage(ctx, after)
		if err != nil {
			return err
		}
		for i := range page {
			r := &page[i]
			if in.Match != "" && !o.matches(r, in.Match) {
				continue
			}
			o.complete(o.s.Records.Directory, r)
			if gone := out.send(RecordLine[R]{Record: r}); gone != nil {
				return nil
			}
			if left--; left == 0 {
				return nil
			}
		}
		if len(page) < recordPage {
			return nil
		}
		last := o.key(&page[len(page)-1])
		after = RecordName{Name: last.Name, Owner: last.Owner}
	}
}

// recordPage is how many records of a listing are in memory. What comes behind them may
// change meanwhile: a client that is slow keeps no snapshot.
const recordPage = 500

func (o *recordOps[R]) nextPage(ctx context.Context, after RecordName) (page []R, err error) {
	err = o.s.Records.Directory.Read(ctx, func(r *directory.Reader) error {
		page, err = o.page(r, after, recordPage)
		return err
	})
	return page, err
}

// recordName names a record in a path.
type recordName struct {
	Name  string `path:"name" maxLength:"1000" doc:"Its login, name or address"`
	Owner string `query:"owner" maxLength:"255" doc:"The login of the owner, of a personal alias"`
}

func (o *recordOps[R]) keyOf(in *recordName) directory.Key {
	return directory.Key{Kind: o.kind, Name: in.Name, Owner: in.Owner}
}

func (o *recordOps[R]) show(_ context.Context, in *recordName) (R, error) {
	r, found := o.get(o.s.Records.Directory, o.keyOf(in))
	if !found {
		return r, notRecorded(o.keyOf(in))
	}
	return r, nil
}

func notRecorded(k directory.Key) error {
	return &Problem{Status: http.StatusNotFound, Title: "No such record", Detail: fmt.Sprintf("there is no %s", k)}
}

// recordBody is a record as it is written.
type recordBody struct{ RawBody []byte }

func (o *recordOps[R]) add(ctx context.Context, in *recordBody) (Stored[R], error) {
	r := o.blank()
	if err := o.read(ctx, in.RawBody, &r); err != nil {
		return Stored[R]{}, err
	}
	return o.store(ctx, func(tx *directory.Tx) (*R, error) {
		if _, there := o.get(tx, o.key(&r)); there {
			return nil, &Problem{Status: http.StatusConflict, Title: "It is there already", Detail: fmt.Sprintf("%s is there already", o.key(&r))}
		}
		return &r, nil
	})
}

// changeInput is a recordName with a body.
type changeInput struct {
	Name    string `path:"name" maxLength:"1000" doc:"Its login, name or address"`
	Owner   string `query:"owner" maxLength:"255" doc:"The login of the owner, of a personal alias"`
	RawBody []byte
}

func (o *recordOps[R]) change(ctx context.Context, in *changeInput) (Stored[R], error) {
	prepared := o.blank() // what takes long is done before the record is read
	if err := o.read(ctx, in.RawBody, &prepared); err != nil {
		return Stored[R]{}, err
	}
	return o.store(ctx, func(tx *directory.Tx) (*R, error) {
		k := o.keyOf(&recordName{in.Name, in.Owner})
		r, there := o.get(tx, k)
		if !there {
			return nil, notRecorded(k)
		}
		before := o.key(&r)
		if err := decodeRecord(in.RawBody, &r); err != nil {
			return nil, err
		}
		if after := o.key(&r); after != before {
			return nil, badRequest(fmt.Errorf("%s cannot become %s: add the one, and delete the other", before, after))
		}
		o.take(&r, &prepared)
		return &r, nil
	})
}

// read reads a record, and does with it what takes long.
func (o *recordOps[R]) read(ctx context.Context, body []byte, r *R) error {
	if err := decodeRecord(body, r); err != nil {
		return err
	}
	return o.prepare(ctx, o.s, r)
}

// store writes the record that of returns.
func (o *recordOps[R]) store(ctx context.Context, of func(*directory.Tx) (*R, error)) (done Stored[R], err error) {
	err = o.s.Records.Directory.Change(ctx, actor(ctx), func(tx *directory.Tx) error {
		r, err := of(tx)
		if err != nil {
			return err
		}
		if err := o.write(tx, r); err != nil {
			return err
		}
		done.Record, _ = o.get(tx, o.key(r))
		return nil
	})
	if err != nil {
		return Stored[R]{}, recordProblem(err)
	}
	o.stored(o.s, &done.Record)
	done.Warnings = o.advise(ctx, o.s, &done.Record)
	return done, nil
}

// write puts a record, if nothing that follows from it is wrong.
func (o *recordOps[R]) write(tx *directory.Tx, r *R) error {
	if err := o.put(tx, r); err != nil {
		return err
	}
	return o.check(o.s, tx, r)
}

func (o *recordOps[R]) delete(ctx context.Context, in *recordName) error {
	return recordProblem(o.s.Records.Directory.Change(ctx, actor(ctx), func(tx *directory.Tx) error { return o.remove(tx, o.keyOf(in)) }))
}

// recordProblem says what is wrong with a record.
func recordProblem(err error) error {
	wrong := directory.ProblemsOf(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, directory.ErrNotFound):
		return &Problem{Status: http.StatusNotFound, Title: "No such record", Detail: err.Error()}
	case wrong != nil:
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "Not possible", Detail: err.Error()}
	}
	return err
}

// decodeRecord sets what a JSON object says of a record.
func decodeRecord[R any](text []byte, record *R) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(record); err != nil {
		return badRequest(fmt.Errorf("the record cannot be read: %w", err))
	}
	return nil
}

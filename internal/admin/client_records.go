package admin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"postern/internal/directory"
)

// Records of the directory, as the API has them.
type (
	Domain = directory.Domain
	Alias  = directory.Alias
)

// RecordsOf are the records of one kind, of a server.
type RecordsOf[R any] struct {
	client *Client
	many   string // as in paths
}

func (r RecordsOf[R]) path() string { return "/v1/" + r.many }

// Users are the users of the directory.
func (c *Client) Users() RecordsOf[User] { return RecordsOf[User]{c, "users"} }

// Domains are the local domains.
func (c *Client) Domains() RecordsOf[Domain] { return RecordsOf[Domain]{c, "domains"} }

// Aliases are the aliases, those of users included.
func (c *Client) Aliases() RecordsOf[Alias] { return RecordsOf[Alias]{c, "aliases"} }

// Lists are the lists of the directory.
func (c *Client) Lists() RecordsOf[List] { return RecordsOf[List]{c, "lists"} }

// Credentials are those of this host.
func (c *Client) Credentials() RecordsOf[Credential] { return RecordsOf[Credential]{c, "credentials"} }

// RekeyCredentials seals the secrets of all credentials under a new key.
func (c *Client) RekeyCredentials(ctx context.Context) (done Rekeyed, err error) {
	return done, c.get(ctx, post("/v1/credential-keys", nil), &done)
}

// TestCredential logs in at a server as deliveries do.
func (c *Client) TestCredential(ctx context.Context, t CredentialTest) (done CredentialTested, err error) {
	return done, c.get(ctx, post("/v1/credential-tests", t), &done)
}

// RecordName names a record.
type RecordName struct {
	Name  string
	Owner string // of a personal alias
}

// at is a request for one record.
func (r RecordsOf[R]) at(method string, n RecordName, body any) request {
	v := url.Values{}
	set(v, "owner", n.Owner)
	return request{method: method, path: r.path() + "/" + url.PathEscape(n.Name), values: v, body: body}
}

// RecordQuery says which records are listed.
type RecordQuery struct {
	Match string // a text in names and addresses; "" for all
	After string // the name behind which to begin; "" for the first
	Limit int    // at most so many; 0 for all
}

// Each calls each for the records that the query selects, in order of their names.
func (r RecordsOf[R]) Each(ctx context.Context, q RecordQuery, each func(*R) error) error {
	v := url.Values{}
	set(v, "match", q.Match)
	set(v, "after", q.After)
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return readLines(ctx, r.client, request{method: http.MethodGet, path: r.path(), values: v}, func(l *RecordLine[R]) error {
		if l.Record == nil {
			return nil
		}
		return each(l.Record)
	})
}

// Get returns one record. Errors: a Problem with status 404.
func (r RecordsOf[R]) Get(ctx context.Context, n RecordName) (record R, err error) {
	return record, r.client.get(ctx, r.at(http.MethodGet, n, nil), &record)
}

// Add adds a record, of what fields says of it. Errors: a Problem with status 409 when it
// is there already.
func (r RecordsOf[R]) Add(ctx context.Context, fields map[string]any) (done Stored[R], err error) {
	return done, r.client.get(ctx, post(r.path(), fields), &done)
}

// Change changes the fields of a record that are given. Errors: a Problem with status 404.
func (r RecordsOf[R]) Change(ctx context.Context, n RecordName, fields map[string]any) (done Stored[R], err error) {
	return done, r.client.get(ctx, r.at(http.MethodPatch, n, fields), &done)
}

// Delete deletes a record. Errors: a Problem with status 404.
func (r RecordsOf[R]) Delete(ctx context.Context, n RecordName) error {
	return r.client.tell(ctx, r.at(http.MethodDelete, n, nil))
}

// Import imports a file. Errors: a Problem with its Faults when something is wrong in it.
func (r RecordsOf[R]) Import(ctx context.Context, i RecordImport, file io.Reader) (done ImportedRecords, err error) {
	v := url.Values{"format": {string(i.Format)}, "replace": {strconv.FormatBool(i.Replace)}, "dry_run": {strconv.FormatBool(i.DryRun)}}
	q := request{method: http.MethodPost, path: "/v1/import/" + r.many, values: v, stream: file, kind: mediaType(i.Format)}
	return done, readLines(ctx, r.client, q, func(l *ImportLine) error {
		if l.Imported != nil {
			done = *l.Imported
		}
		return nil
	})
}

// Export writes all records as a file. It fails with io.ErrUnexpectedEOF when not all came.
func (r RecordsOf[R]) Export(ctx context.Context, f Format, w io.Writer) error {
	body, err := r.client.do(ctx, request{method: http.MethodGet, path: "/v1/export/" + r.many, values: url.Values{"format": {string(f)}}})
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

// ChangeEntries adds entries to a list, and removes some.
func (c *Client) ChangeEntries(ctx context.Context, list string, change EntryChange) (done EntriesChanged, err error) {
	return done, c.get(ctx, post("/v1/lists/"+url.PathEscape(list)+"/entries", change), &done)
}

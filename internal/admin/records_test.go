package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"postern/internal/directory"
	"postern/internal/mailtest"
)

// office is a directory with a server inside the process.
type office struct {
	*Inside
	directory *directory.Directory
	sealed    []string // the passwords that were given
	// transports are those that there are.
	transports []string
}

// TestUserRoute: a user can be given a route that is there, and no other; when it goes, the rest of
// the user can still be changed, and he is found by it.
func TestUserRoute(t *testing.T) {
	o := newOffice(t)
	o.transports = []string{"mx", "partners"}
	const none = `route: there is no transport "partner"; there are mx, partners`
	_, err := o.Users().Add(t.Context(), map[string]any{"login": "joe", "route": "partner"})
	wantProblem(t, err, 422, none)
	_, err = o.Users().Add(t.Context(), map[string]any{"login": "joe", "route": "partners"})
	mailtest.Must(t, err)
	_, err = o.Users().Change(t.Context(), RecordName{Name: "joe"}, map[string]any{"route": "partner"})
	wantProblem(t, err, 422, none)
	_, err = o.Users().Import(t.Context(), RecordImport{Format: FormatCSV}, strings.NewReader("login,route\nann,partners\nbob,partner\n"))
	wantProblem(t, err, http.StatusUnprocessableEntity, "nothing was imported: one thing is wrong")
	if problem, _ := errors.AsType[*Problem](err); !slices.Equal(problem.Faults, []LineFault{{Line: 3, Column: 5, Message: "user bob: " + none}}) {
		t.Errorf("wrong are %+v", problem.Faults)
	}
	o.transports = []string{"mx"}
	stored, err := o.Users().Change(t.Context(), RecordName{Name: "joe"}, map[string]any{"note": "x"})
	mailtest.Must(t, err)
	if stored.Record.Route != "partners" {
		t.Errorf("the route became %q", stored.Record.Route)
	}
	var found []string
	mailtest.Must(t, o.Users().Each(t.Context(), RecordQuery{Match: "partners"}, func(u *User) error {
		found = append(found, u.Login)
		return nil
	}))
	if !slices.Equal(found, []string{"joe"}) {
		t.Errorf("by their route are found %v", found)
	}
	_, err = o.Users().Change(t.Context(), RecordName{Name: "joe"}, map[string]any{"route": ""})
	mailtest.Must(t, err)
}

const (
	testHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
	testKeys = "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkMDE=:c2VydmVyc2VydmVyc2VydmVyc2VydmVyc2VydmVyMDE="
)

func newOffice(t *testing.T) *office {
	t.Helper()
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{directory: d}
	o.Inside = NewInside(Options{Transports: func() []string { return o.transports }, Records: Records{
		Directory: d,
		Seal: func(_ context.Context, password string) (hash, scram string, err error) {
			if password == "weak" {
				return "", "", errors.New("it is weak")
			}
			o.sealed = append(o.sealed, password)
			return testHash, testKeys, nil
		},
		CheckList: func(l *directory.List) error {
			if slices.Contains(l.Entries, "0.0.0.0/0") {
				return errors.New("everybody is on it")
			}
			return nil
		},
		Advise: func(_ context.Context, domain string) []string { return []string{"mind " + domain} },
	}})
	t.Cleanup(func() {
		if err := errors.Join(o.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// wantProblem wants an error that is a problem with a status and a text.
func wantProblem(t *testing.T, err error, status int, text string) {
	t.Helper()
	p, is := errors.AsType[*Problem](err)
	if !is || p.Status != status || !strings.Contains(p.Error(), text) {
		t.Errorf("got %v, want %d with %q", err, status, text)
	}
}

// TestPasswordIsNeverTold: what is given as a password, and what is stored of it, is in
// no answer and no fact, whichever way it is asked for.
func TestPasswordIsNeverTold(t *testing.T) {
	o := newOffice(t)
	stored, err := o.Users().Add(t.Context(), map[string]any{"login": "joe", "password": "open sesame"})
	mailtest.Must(t, err)
	if u, _ := o.directory.User("joe"); u.Password != testHash || u.SCRAM != testKeys || !stored.Record.HasPassword {
		t.Fatalf("stored is %+v, told %+v", u, stored)
	}
	_, err = o.Users().Change(t.Context(), RecordName{Name: "joe"}, map[string]any{"note": "x"})
	mailtest.Must(t, err)
	if u, _ := o.directory.User("joe"); u.Password != testHash {
		t.Error("a change of the note has changed the password")
	}
	var told bytes.Buffer
	for _, f := range []Format{FormatCSV, FormatJSON} {
		mailtest.Must(t, o.Users().Export(t.Context(), f, &told))
	}
	for _, path := range []string{"/v1/users", "/v1/users/joe"} {
		body, err := o.do(t.Context(), request{method: http.MethodGet, path: path})
		mailtest.Must(t, err)
		_, err = told.ReadFrom(body)
		mailtest.Must(t, errors.Join(err, body.Close()))
	}
	facts, err := o.directory.NextFacts(t.Context(), 0, 10)
	mailtest.Must(t, err)
	for _, f := range facts {
		told.WriteString(f.Text)
	}
	for _, secret := range []string{"open sesame", testHash, testKeys, "argon2", "SCRAM-SHA"} {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q is told:\n%s", secret, told.String())
		}
	}
	if strings.Count(told.String(), "joe") < 4 {
		t.Fatalf("not everything was asked:\n%s", told.String())
	}
	if got := fmt.Sprintf("%v %+v %#v", stored.Record, stored.Record, userOf(&directory.User{Password: testHash})); strings.Contains(got, "argon2") {
		t.Errorf("printed: %s", got)
	}
	_, err = o.Users().Change(t.Context(), RecordName{Name: "joe"}, map[string]any{"password": "weak"})
	wantProblem(t, err, http.StatusUnprocessableEntity, "it is weak")
	_, err = o.Users().Change(t.Context(), RecordName{Name: "joe"}, map[string]any{"password": ""})
	mailtest.Must(t, err)
	if u, _ := o.directory.User("joe"); u.Password != "" || u.SCRAM != "" {
		t.Error("the password was not taken away")
	}
	if len(o.sealed) != 1 {
		t.Errorf("sealed was %q", o.sealed)
	}
}

// TestChangeOfRecord: what is not said stays, also within; what is wrong changes nothing.
func TestChangeOfRecord(t *testing.T) {
	o := newOffice(t)
	users := o.Users()
	_, err := users.Add(t.Context(), map[string]any{"login": "Joe", "addresses": []string{"a@x.example", "b@x.example"}, "limits": map[string]any{"max_size": 7}})
	mailtest.Must(t, err)
	for _, c := range []struct {
		name   string
		fields map[string]any
		status int // 0: it is done
		text   string
	}{
		{"a part", map[string]any{"limits": map[string]any{"messages_per_hour": 5}, "services": map[string]any{"relay": false}}, 0, ""},
		{"a list", map[string]any{"addresses": []string{"c@x.example"}}, 0, ""},
		{"wrong", map[string]any{"addresses": []string{"d@x.example", "d@"}, "note": "no"}, http.StatusUnprocessableEntity, "user joe: addresses: "},
		{"unknown", map[string]any{"colour": "blue"}, http.StatusBadRequest, `unknown field "colour"`},
		{"another login", map[string]any{"login": "ann"}, http.StatusBadRequest, "user joe cannot become user ann"},
		{"another type", map[string]any{"enabled": "maybe"}, http.StatusBadRequest, "enabled"},
	} {
		_, err := users.Change(t.Context(), RecordName{Name: "JOE"}, c.fields)
		if c.status == 0 && err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if c.status != 0 {
			wantProblem(t, err, c.status, c.text)
		}
	}
	u, err := users.Get(t.Context(), RecordName{Name: "joe"})
	mailtest.Must(t, err)
	if got := fmt.Sprint(u.Addresses, u.Limits.MessagesPerHour, u.Limits.MaxSize, u.Services.Submit, u.Services.Relay, u.Note); got != "[c@x.example] 5 7 true false" {
		t.Errorf("it is %s", got)
	}
	_, err = users.Change(t.Context(), RecordName{Name: "nobody"}, map[string]any{"note": "x"})
	wantProblem(t, err, http.StatusNotFound, "there is no user nobody")
	_, err = users.Add(t.Context(), map[string]any{"login": "JOE"})
	wantProblem(t, err, http.StatusConflict, "is there already")
	wantProblem(t, users.Delete(t.Context(), RecordName{Name: "nobody"}), http.StatusNotFound, "nobody")
	mailtest.Must(t, users.Delete(t.Context(), RecordName{Name: "joe"}))
	_, err = users.Get(t.Context(), RecordName{Name: "joe"})
	wantProblem(t, err, http.StatusNotFound, "there is no user joe")
}

// TestWideNetworks: a user who is a large part of the Internet is refused, by import too,
// and one who is more than a company has is warned of.
func TestWideNetworks(t *testing.T) {
	o := newOffice(t)
	_, err := o.Users().Add(t.Context(), map[string]any{"login": "app", "networks": []string{"0.0.0.0/1"}})
	wantProblem(t, err, http.StatusUnprocessableEntity, "a large part of the Internet")
	_, err = o.Users().Import(t.Context(), RecordImport{Format: FormatCSV}, strings.NewReader("login,networks\napp,0.0.0.0/1\n"))
	wantProblem(t, err, http.StatusUnprocessableEntity, "one thing is wrong")
	stored, err := o.Users().Add(t.Context(), map[string]any{"login": "app", "networks": []string{"198.0.0.0/8", "10.0.0.0/8"}})
	if err != nil || len(stored.Warnings) != 1 || !strings.Contains(stored.Warnings[0], "198.0.0.0/8") {
		t.Errorf("%q, %v", stored.Warnings, err)
	}
}

// TestListsAreFit: what the daemon does not want is refused, and what is in force stays
// untouched by what was refused.
func TestListsAreFit(t *testing.T) {
	o := newOffice(t)
	_, err := o.Lists().Add(t.Context(), map[string]any{"name": "lan", "kind": "networks", "entries": []string{"10.0.0.0/8", "192.0.2.0/24"}})
	mailtest.Must(t, err)
	_, err = o.ChangeEntries(t.Context(), "lan", EntryChange{Add: []string{"0.0.0.0/0"}})
	wantProblem(t, err, http.StatusUnprocessableEntity, "list lan: entries: everybody is on it")
	_, err = o.Lists().Change(t.Context(), RecordName{Name: "lan"}, map[string]any{"entries": []string{"0.0.0.0/0", "198.51.100.0/24"}})
	wantProblem(t, err, http.StatusUnprocessableEntity, "everybody is on it")
	_, err = o.ChangeEntries(t.Context(), "lan", EntryChange{Remove: []string{"203.0.113.1"}})
	wantProblem(t, err, http.StatusNotFound, `entry "203.0.113.1"`)
	_, err = o.ChangeEntries(t.Context(), "none", EntryChange{Add: []string{"203.0.113.1"}})
	wantProblem(t, err, http.StatusNotFound, "there is no list none")
	if l, _ := o.directory.List("lan"); !slices.Equal(l.Entries, []string{"10.0.0.0/8", "192.0.2.0/24"}) {
		t.Errorf("it has %q", l.Entries)
	}
	done, err := o.ChangeEntries(t.Context(), "lan", EntryChange{Add: []string{"203.0.113.1"}, Remove: []string{"10.0.0.0/8"}})
	if err != nil || done != (EntriesChanged{Name: "lan", Before: 2, Entries: 2}) {
		t.Errorf("%+v, %v", done, err)
	}
	var seen []List
	mailtest.Must(t, o.Lists().Each(t.Context(), RecordQuery{}, func(l *List) error { seen = append(seen, *l); return nil }))
	if len(seen) != 1 || seen[0].Size != 2 || seen[0].Entries != nil {
		t.Errorf("listed: %+v", seen)
	}
}

// TestRecordsInPages: a listing goes on behind each page, personal aliases of one address
// included, and ends where it is told to.
func TestRecordsInPages(t *testing.T) {
	o := newOffice(t)
	stored, err := o.Domains().Add(t.Context(), map[string]any{"name": "x.example"})
	if err != nil || !slices.Equal(stored.Warnings, []string{"mind x.example"}) {
		t.Fatalf("%+v, %v", stored, err)
	}
	const count = 2*recordPage + 10
	var want []string
	mailtest.Must(t, o.directory.Change(t.Context(), "test", func(tx *directory.Tx) error {
		for i := range count {
			login := fmt.Sprintf("u%05d", i)
			want = append(want, login)
			err := errors.Join(tx.PutUser(directory.User{Login: login}), tx.PutAlias(directory.Alias{Address: "same@x.example", Owner: login, Targets: []string{"y@z.example"}}))
			if err != nil {
				return err
			}
		}
		return nil
	}))
	var owners, logins []string
	mailtest.Must(t, o.Aliases().Each(t.Context(), RecordQuery{}, func(a *Alias) error { owners = append(owners, a.Owner); return nil }))
	mailtest.Must(t, o.Users().Each(t.Context(), RecordQuery{}, func(u *User) error { logins = append(logins, u.Login); return nil }))
	if !slices.Equal(owners, want) || !slices.Equal(logins, want) {
		t.Errorf("%d aliases and %d users, want %d", len(owners), len(logins), count)
	}
	logins = nil
	mailtest.Must(t, o.Users().Each(t.Context(), RecordQuery{After: "U00599", Limit: 3}, func(u *User) error { logins = append(logins, u.Login); return nil }))
	if !slices.Equal(logins, want[600:603]) {
		t.Errorf("behind one: %q", logins)
	}
	logins = nil
	mailtest.Must(t, o.Users().Each(t.Context(), RecordQuery{Match: "U0100"}, func(u *User) error { logins = append(logins, u.Login); return nil }))
	if !slices.Equal(logins, want[1000:1010]) {
		t.Errorf("with a text: %q", logins)
	}
}

// TestLargeImport: a file may be larger than other requests; of one that is wrong all
// faults come in the order of the file.
func TestLargeImport(t *testing.T) {
	o := newOffice(t)
	var file strings.Builder
	file.WriteString("login,note\n")
	note := strings.Repeat("n", 900)
	for i := range 2000 {
		fmt.Fprintf(&file, "u%d,%s\n", i, note)
	}
	if file.Len() <= maxBody {
		t.Fatal("the file is no larger than other requests")
	}
	done, err := o.Users().Import(t.Context(), RecordImport{Format: FormatCSV}, strings.NewReader(file.String()))
	if err != nil || done.Created != 2000 {
		t.Fatalf("%+v, %v", done, err)
	}
	_, err = o.Users().Import(t.Context(), RecordImport{Format: FormatCSV}, strings.NewReader("login,enabled\na a,true\nb,maybe\nc\n"))
	wantProblem(t, err, http.StatusUnprocessableEntity, "nothing was imported: 3 things are wrong")
	problem, _ := errors.AsType[*Problem](err)
	for i, f := range problem.Faults {
		if f.Line != i+2 {
			t.Errorf("fault %d is of line %d", i+1, f.Line)
		}
	}
	if n := o.directory.Counts().Users; n != 2000 {
		t.Errorf("there are %d users", n)
	}
}

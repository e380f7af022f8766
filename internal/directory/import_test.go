package directory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
)

// fill makes records of all kinds, with what is hard to write.
func (o *opened) fill() {
	joe := fullUser()
	joe.Addresses = append(joe.Addresses, `"a;b\\c, d"@example.com`)
	var entries []string
	for i := range 2*entriesInRow + 7 {
		entries = append(entries, fmt.Sprintf("m%d@example.com", i))
	}
	o.change(putAll(
		Domain{Name: "example.com"}, Domain{Name: "example.net", AliasOf: "example.com"}, joe, User{Login: "ann"},
		Alias{Address: "@example.com", Targets: []string{"joe@example.com"}},
		Alias{Address: `"a b"@example.com`, Targets: []string{"joe@example.com", "Jö@bücher.example"}},
		Alias{Address: "mates@example.com", Owner: "joe", Targets: []string{"x@y.example"}},
		List{Name: "staff", Kind: Distribution, Address: "staff@example.com", Entries: entries},
		List{Name: "empty", Kind: Distribution, Address: "empty@example.com", Owner: "ann@example.com", Posters: Members},
		List{Name: "words", Kind: Patterns, Entries: []string{`*"a;b"*`, "c*"}},
		Ban{Subject: "account:joe", Since: start, Until: start.Add(time.Hour), Reason: "a, \"b\"; c", Count: 3},
	))
}

func (o *opened) export(e ExportOptions) string {
	o.t.Helper()
	var b bytes.Buffer
	if err := o.Export(o.t.Context(), &b, e); err != nil {
		o.t.Fatal(err)
	}
	return b.String()
}

func (o *opened) imports(text string, i ImportOptions) Imported {
	o.t.Helper()
	done, err := o.Import(o.t.Context(), "ann", strings.NewReader(text), i)
	if err != nil {
		o.t.Fatal(err)
	}
	return done
}

// What is exported, as JSON or in the form of RFC 4180, makes the same records in an empty directory, and changes none where
// it is from.
func TestExportImport(t *testing.T) {
	from := newDirectory(t)
	from.fill()
	document := from.export(ExportOptions{Format: JSON, Secrets: true})
	var files []string
	for _, kind := range []Kind{KindDomain, KindUser, KindAlias, KindList, KindBan} {
		files = append(files, from.export(ExportOptions{Format: CSV, Kinds: []Kind{kind}, Secrets: true}))
	}

	byJSON := newDirectory(t)
	if got, want := byJSON.imports(document, ImportOptions{Format: JSON}), (Imported{Created: 11}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	byCSV := newDirectory(t)
	byCSV.change(putAll(User{Login: "joe"}, User{Login: "ann"})) // of whom the others speak
	for i, kind := range []Kind{KindDomain, KindUser, KindAlias, KindList, KindBan} {
		byCSV.imports(files[i], ImportOptions{Format: CSV, Kind: kind})
		if got := from.imports(files[i], ImportOptions{Format: CSV, Kind: kind, Replace: true}); got.Created+got.Changed+got.Removed > 0 || got.Same == 0 {
			t.Errorf("imported where it is from: %+v", got)
		}
	}
	for _, to := range []*opened{byJSON, byCSV, from} {
		to.reopen()
		if diff := cmp.Diff(document, to.export(ExportOptions{Format: JSON, Secrets: true})); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	bare := from.export(ExportOptions{Format: JSON}) + from.export(ExportOptions{Format: CSV, Kinds: []Kind{KindUser}})
	if strings.Contains(bare, "argon2id") || strings.Contains(bare, "SCRAM-") || strings.Contains(bare, "password") {
		t.Errorf("an export without secrets has some:\n%s", bare)
	}
	from.imports(bare[:strings.Index(bare, "\n}\n")+3], ImportOptions{Format: JSON, Replace: true})
	if u, _ := from.User("joe"); u.Password != testHash {
		t.Error("an import without secrets has taken one away")
	}
}

// What a file does not say of a record stays.
func TestImportKeeps(t *testing.T) {
	o := newDirectory(t)
	o.fill()
	want, _ := o.User("joe")
	o.clock.Advance(time.Hour)
	got := o.imports("note,login,relay\nfree,JOE,false\n,new,true\n", ImportOptions{Format: CSV, Kind: KindUser})
	if got != (Imported{Created: 1, Changed: 1}) {
		t.Errorf("got %+v", got)
	}
	want.Note, want.Services.Relay, want.Changed = "free", false, start.Add(time.Hour)
	joe, _ := o.User("joe")
	if diff := cmp.Diff(want, joe, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if u, _ := o.User("new"); !u.Enabled || !u.Services.Relay {
		t.Errorf("a new user is %+v", u)
	}
	o.imports(`{"version":1,"users":[{"login":"joe","limits":{"max_size":5}}]}`, ImportOptions{Format: JSON})
	joe, _ = o.User("joe")
	if joe.Limits != (mail.AccountLimits{MessagesPerHour: 10, RecipientsPerDay: 20, MaxSize: 5}) || joe.Note != "free" {
		t.Errorf("got %+v", joe)
	}
}

func TestImportReplaces(t *testing.T) {
	o := newDirectory(t)
	o.fill()
	got := o.imports("address,owner,targets\nmates@example.com,joe,z@y.example\nnew@example.com,,joe@example.com\n", ImportOptions{Format: CSV, Kind: KindAlias, Replace: true})
	if got != (Imported{Created: 1, Changed: 1, Removed: 2}) || o.Counts().Aliases != 2 {
		t.Errorf("got %+v, %+v", got, o.Counts())
	}
	got = o.imports(`{"version":1,"aliases":[],"lists":[],"users":[],"bans":[],"domains":[]}`, ImportOptions{Format: JSON, Replace: true})
	if o.Counts() != (Counts{}) {
		t.Errorf("got %+v, %+v", got, o.Counts())
	}
}

// A file with anything wrong in it changes nothing, and all that is wrong is told with its
// place.
func TestImportProblems(t *testing.T) {
	for _, test := range []struct {
		what    string
		options ImportOptions
		text    string
		want    string
	}{
		{"rows", ImportOptions{Format: CSV, Kind: KindUser},
			"login,enabled,addresses,max_size\nkim,true,kim@example.com,\nle a,yes,lea@,x\nJOE,true\nmia,true,\"mia@example.com;m*@x\",-1\nKim,true,,\n",
			`f:3:6: enabled: "yes" is neither true nor false
f:3:15: max_size: "x" is no whole number
f:4:1: the row has 2 columns, the header 4; write each column, also an empty one
f:5:10: user mia: addresses: "m*@x" has a "*" that is not all of the local part; write an address, or "*@example.com" for all of a domain
f:5:33: user mia: max_size: -1 is less than nothing; write 0 for no limit
f:6:1: user kim is here twice; it is at line 2 too`},
		{"routes and classes", ImportOptions{Format: CSV, Kind: KindUser, CheckRoute: onlyPartners},
			"login,note,route,class\nkim,,partners,\nlea,,partner,bulk\nmia,,partners,slow\njoe,,other,\n",
			`f:3:6: user lea: route: there is no "partner"
f:4:15: user mia: class: "slow" is not a priority class; these are bulk, normal, urgent; write one of them, or leave it out
f:5:6: user joe: route: there is no "other"`},
		{"a route that is none", ImportOptions{Format: CSV, Kind: KindUser, CheckRoute: onlyPartners},
			"login,route,class\nkim,no name,\nlea,other,slow\n",
			`f:2:5: user kim: route: "no name" is no such name; write a word of letters, digits, "-" and "_" that begins with a letter, such as "partners"
f:3:11: user lea: class: "slow" is not a priority class; these are bulk, normal, urgent; write one of them, or leave it out
f:3:5: user lea: route: there is no "other"`},
		{"json routes", ImportOptions{Format: JSON, CheckRoute: onlyPartners}, "{\"version\": 1,\n \"users\": [{\"login\": \"kim\",\n  \"route\": \"partner\"}]}",
			`f:3:3: user kim: route: there is no "partner"`},
		{"header", ImportOptions{Format: CSV, Kind: KindAlias}, "adress,targets,targets\na,b,c\n",
			`f:1:1: there is no column "adress"; the columns are address, owner, targets
f:1:16: column "targets" is here twice; leave one out
f:1:1: there is no column "address"; the first row has the names of the columns: address, owner, targets`},
		{"semicolons", ImportOptions{Format: CSV, Kind: KindDomain}, "name;alias_of\na;b\n",
			`f:1:1: there is no column "name;alias_of"; separate columns by commas; a semicolon separates the values of one
f:1:1: there is no column "name"; the first row has the names of the columns: name, alias_of`},
		{"quotes", ImportOptions{Format: CSV, Kind: KindDomain}, "name\na\"b\n\"open\n",
			`f:2:2: bare " in non-quoted-field; put a value with a comma, a quote or a line end between quotes, and double the quotes in it
f:3:7: extraneous or missing " in quoted-field; put a value with a comma, a quote or a line end between quotes, and double the quotes in it`},
		{"nothing", ImportOptions{Format: CSV, Kind: KindDomain}, "\xef\xbb\xbf",
			`f:1:1: the file is empty; write the names of the columns first: name, alias_of`},
		{"what is not there", ImportOptions{Format: CSV, Kind: KindAlias}, "address,targets\r\nok@example.com,x@example.com\r\na@example.org,b@example.com\r\n",
			`f:3:1: alias a@example.org: address: "example.org" is not a local domain; add the domain first`},
		{"entries of a list in rows", ImportOptions{Format: CSV, Kind: KindList}, "name,kind,entries\nl,domains,a.example;b.example\nl,,c..example\nm,domains,a@b\n",
			`f:3:1: list l: entries: "c..example" is not a domain: domain malformed: empty label; write "example.com" for the domain itself, ".example.com" for all below it
f:4:11: list m: entries: "a@b" is an address, not a domain; write "example.com" for the domain itself, ".example.com" for all below it; addresses are for a list of the kind "addresses"`},
		{"json records", ImportOptions{Format: JSON}, "{\"version\": 1,\n \"users\": [\n  {\"login\": \"kim\",\n   \"enabled\": \"yes\"},\n  {\"login\": \"lea\", \"adresses\": []},\n  {\"login\": \"m ia\"}, 7\n ],\n \"domains\": [{\"name\": \"x..y\"}]}",
			`f:4:4: enabled: here is a string; write true or false
f:5:20: there is no field "adresses"
f:6:4: user m ia: login: "m ia" is no login; use letters, digits and ASCII signs, without space, at most 255 octets
f:6:22: the record: here is a number; write a record in braces
f:8:15: domain x..y: name: "x..y": domain malformed: empty label; write a name such as "example.com"`},
		{"json is not whole", ImportOptions{Format: JSON}, "{\"version\": 1,\n \"users\": [{\"login\":",
			"f:2:21: the document ends here, and is not whole; write {\"version\": 1, \"users\": [{…}, …], …}"},
		{"json syntax", ImportOptions{Format: JSON}, "{\"version\": 1,\n \"users\": [\n{\"login\": joe}]}",
			"f:3:11: invalid character 'j' looking for beginning of value; write {\"version\": 1, \"users\": [{…}, …], …}"},
		{"json version", ImportOptions{Format: JSON}, `{"version": 2}`,
			"f:1:14: version 2 is not known, only 1; write {\"version\": 1, \"users\": [{…}, …], …}"},
		{"json of something else", ImportOptions{Format: JSON}, `{"people": []}`,
			"f:1:10: there are no records \"people\": use version, domains, users, aliases, lists or bans; write {\"version\": 1, \"users\": [{…}, …], …}"},
		{"json twice", ImportOptions{Format: JSON}, `{"users": [], "users": []}`,
			"f:1:22: \"users\" are here twice; write {\"version\": 1, \"users\": [{…}, …], …}"},
		{"json goes on", ImportOptions{Format: JSON}, `{"users": []} {}`,
			"f:1:16: the document goes on behind its end; write {\"version\": 1, \"users\": [{…}, …], …}"},
	} {
		t.Run(test.what, func(t *testing.T) {
			o := newDirectory(t)
			o.fill()
			before := o.export(ExportOptions{Format: JSON})
			test.options.File = "f"
			_, err := o.Import(t.Context(), "ann", strings.NewReader(test.text), test.options)
			if _, ok := errors.AsType[*ImportProblems](err); !ok {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if after := o.export(ExportOptions{Format: JSON}); after != before {
				t.Errorf("records have changed: %s", cmp.Diff(before, after))
			}
		})
	}
}

// onlyPartners knows one route.
func onlyPartners(name string) error {
	if name == "partners" {
		return nil
	}
	return fmt.Errorf("there is no %q", name)
}

// TestImportOfGoneRoute: a user whose route has gone meanwhile is imported as he is.
func TestImportOfGoneRoute(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(User{Login: "joe", Route: "gone"}))
	got := o.imports("login,route,note\njoe,gone,x\n", ImportOptions{Format: CSV, Kind: KindUser, CheckRoute: onlyPartners})
	if got != (Imported{Changed: 1}) {
		t.Errorf("got %+v", got)
	}
}

// Only so many problems are told, and how many more there are.
func TestImportManyProblems(t *testing.T) {
	o := newDirectory(t)
	_, err := o.Import(t.Context(), "ann", strings.NewReader("name\n"+strings.Repeat("a..b\n", 103)), ImportOptions{Format: CSV, Kind: KindDomain})
	p, _ := errors.AsType[*ImportProblems](err)
	if p == nil || len(p.List) != 100 || p.More != 3 || !strings.HasSuffix(err.Error(), "\nand 3 more") {
		t.Errorf("got %v", err)
	}
}

func TestImportDryRun(t *testing.T) {
	o := newDirectory(t)
	o.fill()
	before := o.export(ExportOptions{Format: JSON})
	got := o.imports("login\nnew\nann\n", ImportOptions{Format: CSV, Kind: KindUser, DryRun: true, Replace: false})
	if got != (Imported{Created: 1, Same: 1}) || o.export(ExportOptions{Format: JSON}) != before {
		t.Errorf("got %+v", got)
	}
	if _, err := o.Import(t.Context(), "ann", strings.NewReader("address,targets\na@nowhere.example,b@example.com\n"), ImportOptions{Format: CSV, Kind: KindAlias, DryRun: true}); err == nil {
		t.Error("a dry run does not find what is wrong")
	}
}

// A record without an end is given up, and not read to the end of memory.
func TestImportIsBounded(t *testing.T) {
	o := newDirectory(t)
	for _, test := range []struct {
		options     ImportOptions
		head, again string
	}{
		{ImportOptions{Format: CSV, Kind: KindDomain}, "name\n\"", "aaaaaaaaaaaaaaa\n"},
		{ImportOptions{Format: JSON}, `{"users": [{"login": "`, "aaaaaaaaaaaaaaaa"},
	} {
		endless := &counter{r: io.MultiReader(strings.NewReader(test.head), &repeating{text: test.again})}
		_, err := o.Import(t.Context(), "ann", endless, test.options)
		if err == nil || !strings.Contains(err.Error(), "not closed") {
			t.Errorf("%s: got %v", test.options.Format, err)
		}
		if endless.n > 3*maxRow {
			t.Errorf("%s: %d octets were read", test.options.Format, endless.n)
		}
	}
	broken := errors.New("broken")
	for format, text := range map[Format]string{CSV: "name\na.example\n", JSON: `{"domains": [{"name": "a.example"}`} {
		if _, err := o.Import(t.Context(), "ann", io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), ImportOptions{Format: format, Kind: KindDomain}); !errors.Is(err, broken) {
			t.Errorf("%s: got %v", format, err)
		}
	}
	if o.Counts() != (Counts{}) {
		t.Errorf("there is %+v", o.Counts())
	}
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// repeating has a text again and again.
type repeating struct {
	text string
	at   int
}

func (r *repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

// Whatever a file says, an import ends with records or with problems of places that are in
// the file; and what is then exported can be imported.
func FuzzImport(f *testing.F) {
	f.Add("login,enabled,addresses,networks\nkim,true,\"a@b;\\;\",192.0.2.0/24\n", false, uint8(1))
	f.Add("name,kind,address,entries\nl,networks,,192.0.2.1\nl,,,::1\n", false, uint8(3))
	f.Add(`{"version":1,"domains":[{"name":"a"}],"aliases":[{"address":"x@a","targets":["y@b"]}]}`, true, uint8(0))
	f.Add(`{"users":[{"login":"kim","expires":"2026-01-01T00:00:00Z","networks":["::/64"]}]}`, true, uint8(0))
	dir := f.TempDir()
	d, err := Open(f.Context(), Options{Dir: dir, Clock: mail.NewManualClock(start)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { d.Close() })
	f.Fuzz(func(t *testing.T, text string, isJSON bool, kind uint8) {
		options := ImportOptions{Format: CSV, Kind: []Kind{KindDomain, KindUser, KindAlias, KindList, KindBan}[kind%5], File: "f", Replace: true}
		if isJSON {
			options.Format = JSON
		}
		_, err := d.Import(t.Context(), "ann", strings.NewReader(text), options)
		if p, wrong := errors.AsType[*ImportProblems](err); wrong {
			for _, one := range p.List {
				if one.Line > strings.Count(text, "\n")+1 || one.Column > len(text)+1 {
					t.Errorf("%q: problem at %v", text, one.Place)
				}
			}
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var b bytes.Buffer
		if err := d.Export(t.Context(), &b, ExportOptions{Format: JSON, Secrets: true}); err != nil {
			t.Fatal(err)
		}
		done, err := d.Import(t.Context(), "ann", &b, ImportOptions{Format: JSON, Replace: true})
		if err != nil || done.Created+done.Changed+done.Removed > 0 {
			t.Errorf("%q: what was exported: %+v, %v", text, done, err)
		}
	})
}

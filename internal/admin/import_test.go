package admin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// TestImportBody: a body that is not what it should be is refused, with what
// is wrong; nothing of it is stored, and the next import can begin.
func TestImportBody(t *testing.T) {
	store := queue.NewMemory(queue.Options{})
	path, client := serve(t, admin.Options{Importer: intake.New(intake.Options{Store: store, IDs: new(mail.IDs)})})
	r := rig{path: path}
	const kind = "multipart/mixed; boundary=b"
	part := func(kind, text string) string { return "--b\r\nContent-Type: " + kind + "\r\n\r\n" + text + "\r\n" }
	const batch = `{"export": "0000000000000100", "begin": 0, "after": {"done": 1}, "messages": 1}`
	const two = `{"export": "0000000000000100", "begin": 0, "after": {"done": 2}, "messages": 2}`
	const message = `{"id": "0000000000000001", "message": "0000000000000001", "size": 3, "envelope": {"from": "a@x.example"},
		"deliveries": [{"destination": "y.example", "recipients": [{"address": "b@y.example", "state": "queued"}]}]}`
	for _, c := range []struct {
		name, kind, body string
		status           int
		want             string
	}{
		{"kind", "application/json", "{}", 422, "must be multipart/mixed"},
		{"empty", kind, "", 400, "the body is not what it should be"},
		{"nothing", kind, "--b--\r\n", 400, "the body is not what it should be"},
		{"many", kind, part("application/json", `{"export": "0000000000000100", "messages": 1001}`) + "--b--\r\n", 400, "1001 messages; a batch has at most 1000"},
		{"batch", kind, part("application/json", `{"exports": 1}`) + "--b--\r\n", 400, `unknown field`},
		{"export", kind, part("application/json", `{"export": "x"}`) + "--b--\r\n", 400, "id"},
		{"entry", kind, part("application/json", batch) + part("application/json", `{"ids": 1}`) + "--b--\r\n", 400, "unknown field"},
		{"content", kind, part("application/json", batch) + part("application/json", `{"id": "0000000000000001"}`) + "--b--\r\n", 400, "message 0000000000000001: its content is missing"},
		{"cut", kind, part("application/json", batch) + part("application/json", `{"id": "0000000000000001"}`), 400, "content is missing"},
		{"within", kind, part("application/json", two) + part("application/json", message) + part("message/rfc822", "a\r\n"), 400, "the body was cut short"},
		{"between", kind, part("application/json", two) + part("application/json", message) + part("message/rfc822", "a\r\n") + "--b\r\n", 400, "the body is not what it should be"},
		{"fewer", kind, part("application/json", two) + part("application/json", message) + part("message/rfc822", "a\r\n") + "--b--\r\n", 400, "the body is not what it should be"},
		{"backwards", kind, part("application/json", `{"export": "0000000000000100", "begin": 2}`) + "--b--\r\n", 400, "a batch from 2 to 0"},
		{"elsewhere", kind, part("application/json", `{"export": "0000000000000100", "begin": 2, "after": {"done": 3}}`) + "--b--\r\n", 409, "imported further meanwhile"},
	} {
		response, err := r.plain().Post("http://postern/v1/imports", c.kind, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		var problem admin.Problem
		if err := errors.Join(json.NewDecoder(response.Body).Decode(&problem), response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != c.status || !strings.Contains(problem.Error(), c.want) {
			t.Errorf("%s: %d %s, want %d and %q", c.name, response.StatusCode, problem.Error(), c.status, c.want)
		}
	}
	if store.Entries() > 0 {
		t.Errorf("%d entries were stored", store.Entries())
	}
	if done, err := client.Imported(t.Context(), "0000000000000100"); err != nil || done.Done != 0 {
		t.Errorf("imported as far as %+v, %v", done, err)
	}
	_, err := client.Imported(t.Context(), "x")
	if problem, ok := errors.AsType[*admin.Problem](err); !ok || problem.Status != http.StatusBadRequest {
		t.Errorf("an export that is none: %v", err)
	}
}

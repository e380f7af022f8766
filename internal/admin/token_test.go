package admin_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

func TestParseTokens(t *testing.T) {
	const long = "0123456789abcdef0123"
	tokens, err := admin.ParseTokens("# who may\n\ngrafana " + long + "\r\n  cron\tx" + long + "\n")
	if err != nil || len(tokens) != 2 || tokens[0] != (admin.Token{Name: "grafana", Value: long}) || tokens[1].Name != "cron" {
		t.Errorf("got %v, %v", tokens, err)
	}
	for text, want := range map[string]string{
		"": "no token", "# x y\n": "no token", long: "line 1 is not a name", "a " + long + " x": "line 1 is not a name",
		"a " + long + "\nb " + long[1:]: "line 2: the token has less than 20", "a " + long + "\na x" + long: "line 2: its name stands there twice",
	} {
		if _, err := admin.ParseTokens(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), long[1:]) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestTokens: at an address only who has a token is let in, and is the actor.
// RFC 6750 2.1 has the header.
func TestTokens(t *testing.T) {
	store := queue.NewMemory(queue.Options{})
	server := admin.NewServer(admin.Options{Queue: store, Tokens: []admin.Token{{Name: "grafana", Value: "secret-1"}, {Name: "cron", Value: "secret-2"}}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	defer func() {
		if err := server.Shutdown(t.Context()); err != nil || <-served != nil {
			t.Error(err)
		}
	}()
	for header, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer secret": 401, "Bearer secret-12": 401, "Basic secret-1": 401, "secret-1": 401, "bearer secret-2": 200,
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+l.Addr().String()+"/v1/suspend", strings.NewReader(`{"what":"delivery","reason":"a test"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		if header != "" {
			request.Header.Set("Authorization", header)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want || (want == 401) != (response.Header.Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%q: %s", header, response.Status)
		}
	}
	facts, err := store.NextFacts(t.Context(), 0, 10)
	if err != nil || len(facts) != 1 || facts[0].Actor != "cron" || facts[0].Reason != mail.ReasonMarked {
		t.Errorf("facts: %+v, %v", facts, err)
	}
}

package admin_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"testing"

	"postern/internal/admin"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

const openAPIFile = "../../docs/openapi.json"

// TestOpenAPI holds the published description of the API and the API together.
func TestOpenAPI(t *testing.T) {
	got, err := admin.NewServer(admin.Options{}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(openAPIFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/openapi.json is not what the server serves: run go test ./internal/admin -update, and look at the difference")
	}
}

// TestOpenAPIIsServed: what a client gets is that description.
func TestOpenAPIIsServed(t *testing.T) {
	r := newRig(t)
	client := r.plain()
	response, err := client.Get("http://postern/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	served, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	var short bytes.Buffer
	if err := json.Compact(&short, want); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || !bytes.Equal(bytes.TrimSpace(served), bytes.TrimSpace(short.Bytes())) {
		t.Errorf("got %s and %d octets, want %d", response.Status, len(served), short.Len())
	}
}

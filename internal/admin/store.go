package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"postern/internal/queue"
)

// progressEvery is how often a verification tells how far it has come.
const progressEvery = 200 * time.Millisecond

// damaged lists the entries that were set aside.
func (s *Server) damaged(w http.ResponseWriter, r *http.Request) error {
	_, page, err := selection(r.URL.Query())
	if err != nil {
		return badRequest(err)
	}
	list, err := s.Queue.Damaged(r.Context(), page)
	if err != nil {
		return err
	}
	if list == nil {
		list = []queue.Damaged{}
	}
	return answer(w, list)
}

func (s *Server) stat(w http.ResponseWriter, r *http.Request) error {
	st, err := s.Store.Stat(r.Context())
	if err != nil {
		return err
	}
	return answer(w, st)
}

// verify streams its progress as JSON lines; the last has the result. It ends
// when the client leaves.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/jsonl")
	encoder, flush := json.NewEncoder(w), http.NewResponseController(w).Flush
	if err := flush(); err != nil {
		return nil // the client has left
	}
	var last time.Time
	verified, err := s.Store.Verify(r.Context(), func(p queue.Progress) {
		if now := time.Now(); now.Sub(last) > progressEvery {
			last = now
			_ = encoder.Encode(VerifyLine{Progress: &p}) // fails when the client has left, and the context ends
			_ = flush()
		}
	})
	switch {
	case r.Context().Err() != nil:
	case err != nil:
		_ = encoder.Encode(VerifyLine{Problem: s.problem(r, err)})
	default:
		_ = encoder.Encode(VerifyLine{Verified: &verified})
	}
	return nil
}

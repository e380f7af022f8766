package admin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/deliver"
	"postern/internal/mail"
	"postern/internal/pool"
	"postern/internal/queue"
)

// Targets are the target servers of all pools, as an operator has them: a pool.Set. What
// a text means, pool.Set.Find says. Errors: pool.ErrNoTarget, pool.ErrNoPool, with what
// to do.
type Targets interface {
	Pools() []pool.View
	Find(text string) ([]pool.Server, error)
	// Refresh looks the names of a pool up now, of all when pool is empty.
	Refresh(ctx context.Context, pool string) ([]pool.View, error)
	Reconnect(text, actor string) ([]pool.Server, error)
	Drain(text, actor string) ([]pool.Server, error)
	Undrain(text, actor string) ([]pool.Server, error)
}

// TargetList are the target servers, and what became of all mail.
type TargetList struct {
	Global TargetCounts `json:"global" doc:"Of all mail, by whatever way; counted since the start, and now"`
	Pools  []pool.View  `json:"pools" doc:"In the order of their names"`
}

// TargetCounts is what CSSMTP counts globally.
type TargetCounts struct {
	deliver.Tally
	Retry    int `json:"current_retry" doc:"Recipients that wait for another attempt (CURRENT RETRY)"`
	Extended int `json:"current_extended_retry" doc:"Those of them that have used up the listed waits of retry (EXTENDED RETRY, CURRENT)"`
}

// TargetDetail is a target server at a moment, and what waits for it.
type TargetDetail struct {
	pool.Server
	ForRoom int `json:"for_room" doc:"How many deliveries wait for a place there, or at another server that may take them"`
}

// TargetServers are those that a name means.
type TargetServers struct {
	Servers []TargetDetail `json:"servers"`
}

// withWaiting adds to servers what waits for them.
func (s *Server) withWaiting(found []pool.Server) TargetServers {
	waiting := s.Sites.ForRoom()
	servers := make([]TargetDetail, len(found))
	for i := range found {
		servers[i] = TargetDetail{found[i], waiting[found[i].Address]}
	}
	return TargetServers{servers}
}

func (s *Server) targetOperations() {
	answer(s, huma.Operation{OperationID: "targets", Method: http.MethodGet, Path: "/v1/targets",
		Summary: "How the target servers of all pools stand, and what became of mail"}, s.targets)
	answer(s, huma.Operation{OperationID: "target", Method: http.MethodGet, Path: "/v1/targets/{name}",
		Summary: "Target servers by the name of a pool or host, or by an address"}, s.target)
	answer(s, huma.Operation{OperationID: "refresh-targets", Method: http.MethodPost, Path: "/v1/pools/refresh",
		Summary: "Look the names of target servers up again"}, s.refreshTargets)
	answer(s, huma.Operation{OperationID: "reconnect-target", Method: http.MethodPost, Path: "/v1/targets/{name}/reconnect",
		Summary: "End the connections to target servers and learn anew what they offer"}, s.reconnectTarget)
	answer(s, huma.Operation{OperationID: "drain-target", Method: http.MethodPost, Path: "/v1/targets/{name}/drain",
		Summary: "Let no mail go to target servers, or end that"}, s.drainTarget)
}

func (s *Server) targets(ctx context.Context, _ *struct{}) (TargetList, error) {
	list := TargetList{Pools: s.Targets.Pools()}
	counted, listed := s.Tally()
	list.Global.Tally = counted
	waiting, err := s.Queue.Count(ctx, queue.Filter{})
	if err != nil || waiting[mail.Deferred] == 0 {
		return list, err
	}
	list.Global.Retry = waiting[mail.Deferred]
	extended, err := s.Queue.Count(ctx, queue.Filter{Where: fmt.Sprintf("state = deferred and attempts > %d", listed)})
	list.Global.Extended = extended[mail.Deferred]
	return list, err
}

type targetInput struct {
	Name string `path:"name" doc:"A pool, the name or address of a server, with or without its port, or that behind the name of its pool and a slash"`
}

func (s *Server) target(_ context.Context, in *targetInput) (TargetServers, error) {
	found, err := s.Targets.Find(in.Name)
	return s.withWaiting(found), err
}

type refreshInput struct {
	Pool string `query:"pool" doc:"Only this pool"`
}

func (s *Server) refreshTargets(ctx context.Context, in *refreshInput) (TargetList, error) {
	if _, err := s.Targets.Refresh(ctx, in.Pool); err != nil {
		return TargetList{}, err
	}
	return s.targets(ctx, nil)
}

func (s *Server) reconnectTarget(ctx context.Context, in *targetInput) (TargetServers, error) {
	found, err := s.Targets.Reconnect(in.Name, actor(ctx))
	return s.withWaiting(found), err
}

type drainInput struct {
	Name string `path:"name" doc:"As for target"`
	Undo bool   `query:"undo" doc:"Let mail go there again"`
}

func (s *Server) drainTarget(ctx context.Context, in *drainInput) (TargetServers, error) {
	do := s.Targets.Drain
	if in.Undo {
		do = s.Targets.Undrain
	}
	found, err := do(in.Name, actor(ctx))
	return s.withWaiting(found), err
}

package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// ListTargets asks how the target servers stand.
func (c *Client) ListTargets(ctx context.Context) (list TargetList, err error) {
	return list, c.get(ctx, request{method: http.MethodGet, path: "/v1/targets"}, &list)
}

// Target asks for target servers by what a person calls them. Errors: a Problem with
// status 404, as for the others here.
func (c *Client) Target(ctx context.Context, name string) (found TargetServers, err error) {
	return found, c.get(ctx, request{method: http.MethodGet, path: targetPath(name)}, &found)
}

// RefreshTargets has the names of a pool looked up, of all pools when it is empty.
func (c *Client) RefreshTargets(ctx context.Context, pool string) (list TargetList, err error) {
	r := request{method: http.MethodPost, path: "/v1/pools/refresh"}
	if pool != "" {
		r.values = url.Values{"pool": {pool}}
	}
	return list, c.get(ctx, r, &list)
}

// ReconnectTarget has connections to target servers ended.
func (c *Client) ReconnectTarget(ctx context.Context, name string) (found TargetServers, err error) {
	return found, c.get(ctx, request{method: http.MethodPost, path: targetPath(name) + "/reconnect"}, &found)
}

// DrainTarget lets no mail go to target servers, or ends that.
func (c *Client) DrainTarget(ctx context.Context, name string, undo bool) (found TargetServers, err error) {
	v := url.Values{"undo": {strconv.FormatBool(undo)}}
	return found, c.get(ctx, request{method: http.MethodPost, path: targetPath(name) + "/drain", values: v}, &found)
}

func targetPath(name string) string { return "/v1/targets/" + url.PathEscape(name) }

package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"postern/internal/queue"
)

// ListSites asks how the sites stand; limit bounds how many are told of.
func (c *Client) ListSites(ctx context.Context, onlyDown bool, limit int) (list SiteList, err error) {
	v := url.Values{"down": {strconv.FormatBool(onlyDown)}, "limit": {strconv.Itoa(limit)}}
	return list, c.get(ctx, request{method: http.MethodGet, path: "/v1/sites", values: v}, &list)
}

// Site asks for one site: by its name, the beginning of that, or a destination
// that leads there. Errors: a Problem with status 404 when that is none.
func (c *Client) Site(ctx context.Context, name string) (site SiteDetail, err error) {
	return site, c.get(ctx, request{method: http.MethodGet, path: sitePath(name)}, &site)
}

// RetrySite has all mail for a site tried now, and the site itself. It goes on
// when ctx ends, with the part that it has begun.
func (c *Client) RetrySite(ctx context.Context, name string, progress func(queue.Edited)) (done queue.Edited, err error) {
	return c.edited(ctx, post(sitePath(name)+"/retry", nil), progress)
}

func sitePath(name string) string { return "/v1/sites/" + url.PathEscape(name) }

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"sessionhub/protocol"
)

// maxAnswerBytes bounds an answer. A page of history has at most 4 MiB of events.
const maxAnswerBytes = 32 << 20

// Client reaches one hub. Its methods may be called concurrently. Do not change its fields
// once it is in use.
type Client struct {
	BaseURL string // http://host:port, or https; a path in front of /api may follow
	// APIKey is sent where no session token is used. It is empty for a hub in local mode.
	APIKey string
	// HTTPClient is http.DefaultClient unless given. For streams over SSE its Timeout must
	// be 0.
	HTTPClient *http.Client

	// socketAfter is when a WebSocket may be tried again after one did not get through, in
	// Unix nanoseconds.
	socketAfter atomic.Int64
}

func (c *Client) http() *http.Client {
	if c.HTTPClient != nil {
		return c.HTTPClient
	}
	return http.DefaultClient
}

// endpoint is the URL of a path below /api.
func (c *Client) endpoint(path string, query url.Values) string {
	u := strings.TrimSuffix(c.BaseURL, "/") + "/api" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u
}

// authorize sets the one credential of a request: the token if there is one.
func (c *Client) authorize(h http.Header, token string) {
	switch {
	case token != "":
		h.Set("Authorization", "Bearer "+token)
	case c.APIKey != "":
		h.Set("X-API-Key", c.APIKey)
	}
}

// call is one request to the hub.
type call struct {
	op           string // for the error
	method, path string
	query        url.Values
	token        string
	key          string    // Idempotency-Key
	body         any       // nil: none
	file         io.Reader // is the body, in place of one in JSON
	mediaType    string    // of file; empty: the hub finds out
}

// send sends a request. A refusal becomes an error. The caller must close the answer's
// body.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	body, kind := r.file, r.mediaType
	if r.body != nil {
		kind = "application/json"
		raw, err := json.Marshal(r.body)
		if err != nil {
			return nil, failed(r.op, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.endpoint(r.path, r.query), body)
	if err != nil {
		return nil, failed(r.op, err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	c.authorize(req.Header, r.token)
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, failed(r.op, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, refusal(r.op, resp)
	}
	return resp, nil
}

// do sends a request. It decodes the answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, r call, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return failed(r.op, err)
	case len(raw) > maxAnswerBytes:
		return fmt.Errorf("%s: the answer has more than %d bytes", r.op, maxAnswerBytes)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s: read the answer: %w", r.op, err)
	}
	return nil
}

// Create makes a session. With a key, a repeat returns the same session; with an empty key,
// it makes another one.
func (c *Client) Create(ctx context.Context, r protocol.CreateRequest, key string) (protocol.CreateResponse, error) {
	var out protocol.CreateResponse
	err := c.do(ctx, call{op: "create session", method: http.MethodPost, path: "/sessions", key: key, body: r}, &out)
	return out, err
}

// ListOptions narrow a list. A zero field does not narrow it.
type ListOptions struct {
	Status protocol.Status
	UserID string // only a service key may set it
	Limit  int    // of a page; the hub clamps it
	Cursor string // NextCursor of the page before

	Archived *bool // only the archived ones, or only the others
	// Query looks for sessions with this text in their title or first message; with
	// InLogs, also in what was said. A page can then be short, or empty, and have a
	// NextCursor.
	Query  string
	InLogs bool
}

// List returns a page of sessions, newest first.
func (c *Client) List(ctx context.Context, o ListOptions) (protocol.SessionList, error) {
	q := url.Values{}
	for name, v := range map[string]string{"status": string(o.Status), "userId": o.UserID, "cursor": o.Cursor, "query": o.Query} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if o.Archived != nil {
		q.Set("archived", strconv.FormatBool(*o.Archived))
	}
	if o.InLogs {
		q.Set("text", "true")
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	var out protocol.SessionList
	err := c.do(ctx, call{op: "list sessions", method: http.MethodGet, path: "/sessions", query: q}, &out)
	return out, err
}

// AgentSessionsOptions choose sessions of an agent. A zero field does not narrow the list.
type AgentSessionsOptions struct {
	Provider         string // empty: the hub's default
	WorkingDirectory string
	Workspace        string // of the page before
	Cursor           string // NextCursor of the page before
	Limit            int    // of a page; the hub clamps it
	UserID           string // only a service key may set it
}

// AgentSessions returns a page of the sessions that an agent has from elsewhere. The hub has
// a worker start the agent and ask it, which takes seconds.
func (c *Client) AgentSessions(ctx context.Context, o AgentSessionsOptions) (protocol.AgentSessions, error) {
	q := url.Values{}
	for name, v := range map[string]string{
		"provider": o.Provider, "workingDirectory": o.WorkingDirectory, "workspace": o.Workspace, "cursor": o.Cursor, "userId": o.UserID,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	var out protocol.AgentSessions
	err := c.do(ctx, call{op: "list the agent's sessions", method: http.MethodGet, path: "/agent-sessions", query: q}, &out)
	return out, err
}

// Providers lists the kinds of agents that the hub knows.
func (c *Client) Providers(ctx context.Context) ([]protocol.Provider, error) {
	out, err := c.ProviderList(ctx)
	return out.Providers, err
}

// ProviderList is Providers with the one to preselect.
func (c *Client) ProviderList(ctx context.Context) (protocol.Providers, error) {
	var out protocol.Providers
	err := c.do(ctx, call{op: "list providers", method: http.MethodGet, path: "/providers"}, &out)
	return out, err
}

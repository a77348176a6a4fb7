package client

import (
	"context"
	"net/http"
	"net/url"

	"sessionhub/protocol"
)

// Inbox returns what waits for a user over all sessions, what has finished since the user
// looked, and what works. The client needs an API key. Only a service key may name another
// user; a service key that names none gets everybody's.
func (c *Client) Inbox(ctx context.Context, userID string) (protocol.Inbox, error) {
	q := url.Values{}
	if userID != "" {
		q.Set("userId", userID)
	}
	var out protocol.Inbox
	err := c.do(ctx, call{op: "read inbox", method: http.MethodGet, path: "/inbox", query: q}, &out)
	return out, err
}

// Batch does one of protocol.BatchActions on up to protocol.MaxBatch sessions. The results
// are in the order of the ids. What fails for one session does not hold the others up. The
// client needs an API key.
func (c *Client) Batch(ctx context.Context, action string, sessionIDs ...string) ([]protocol.BatchResult, error) {
	var out protocol.BatchResponse
	err := c.do(ctx, call{
		op: "change sessions", method: http.MethodPost, path: "/sessions/batch", body: protocol.BatchRequest{Action: action, SessionIDs: sessionIDs},
	}, &out)
	return out.Results, err
}

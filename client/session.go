package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"sessionhub/protocol"
)

// Session is one session at a hub. Its methods may be called concurrently.
type Session struct {
	client *Client
	id     string

	mu    sync.Mutex
	token string // guarded by mu
}

// Session gives the session with this id, which need not exist. Without a
// token, the client's API key is used.
func (c *Client) Session(id, token string) *Session {
	return &Session{client: c, id: id, token: token}
}

// ID is the session's.
func (s *Session) ID() string { return s.id }

// SetToken replaces the token, from the next request and connection on.
func (s *Session) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

func (s *Session) bearer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

func (s *Session) path(rest string) string { return "/sessions/" + url.PathEscape(s.id) + rest }

func (s *Session) do(ctx context.Context, op, method, rest string, query url.Values, body, out any) error {
	return s.client.do(ctx, call{op: op, method: method, path: s.path(rest), query: query, token: s.bearer(), body: body}, out)
}

// Get reads the session.
func (s *Session) Get(ctx context.Context) (protocol.Session, error) {
	var out protocol.Session
	err := s.do(ctx, "get session", http.MethodGet, "", nil, nil, &out)
	return out, err
}

// Delete ends the session and everything that it runs. Afterwards it is not
// found.
func (s *Session) Delete(ctx context.Context) error {
	return s.do(ctx, "delete session", http.MethodDelete, "", nil, nil, nil)
}

// Message sends a user's text. With a messageID (1 to 128 printable ASCII
// characters) it may be sent again, and counts once; the hub makes one if it is
// empty. The answer comes when the message is in the log, not when the agent
// has done its turn: see the stream.
func (s *Session) Message(ctx context.Context, text, messageID string) (protocol.MessageResponse, error) {
	raw, err := json.Marshal(text)
	if err != nil {
		return protocol.MessageResponse{}, failed("send message", err)
	}
	return s.MessageContent(ctx, protocol.MessageRequest{Content: raw, MessageID: messageID})
}

// MessageContent sends a message in any form that the hub takes.
func (s *Session) MessageContent(ctx context.Context, r protocol.MessageRequest) (protocol.MessageResponse, error) {
	var out protocol.MessageResponse
	err := s.do(ctx, "send message", http.MethodPost, "/messages", nil, r, &out)
	return out, err
}

// Approve answers a question of the agent, by an option's id or by a decision.
// Of several answers one wins: the others get an *Error with
// protocol.CodeApprovalResolved and what won.
func (s *Session) Approve(ctx context.Context, r protocol.ApproveRequest) (protocol.ApproveResponse, error) {
	var out protocol.ApproveResponse
	err := s.do(ctx, "approve", http.MethodPost, "/approve", nil, r, &out)
	return out, err
}

// Approvals lists the questions that wait for an answer, oldest first.
func (s *Session) Approvals(ctx context.Context) ([]protocol.ToolApprovalData, error) {
	var out protocol.Approvals
	err := s.do(ctx, "list approvals", http.MethodGet, "/approvals", nil, nil, &out)
	return out.Approvals, err
}

// Cancel stops the turn of a message, or takes it back if it is queued; empty:
// whatever runs. It is no error when nothing does.
func (s *Session) Cancel(ctx context.Context, messageID string) error {
	return s.do(ctx, "cancel", http.MethodPost, "/cancel", nil, protocol.CancelRequest{MessageID: messageID}, nil)
}

// History reads a page of the event log behind a cursor ("": from the
// beginning). limit 0 is the hub's most. NextAfter of the page is the cursor of
// the next one.
func (s *Session) History(ctx context.Context, after string, limit int) (protocol.History, error) {
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var out protocol.History
	err := s.do(ctx, "read history", http.MethodGet, "/history", q, nil, &out)
	return out, err
}

// Token makes another token of this session. The present one stays in use: see
// SetToken.
func (s *Session) Token(ctx context.Context, r protocol.TokenRequest) (protocol.TokenResponse, error) {
	var out protocol.TokenResponse
	err := s.do(ctx, "make token", http.MethodPost, "/token", nil, r, &out)
	return out, err
}

// RevokeToken ends the token that this session uses, and its open streams.
func (s *Session) RevokeToken(ctx context.Context) error {
	return s.do(ctx, "revoke token", http.MethodDelete, "/token", nil, nil, nil)
}

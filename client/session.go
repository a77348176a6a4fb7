package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"sessionhub/protocol"
)

// Session is one session at a hub. Its methods may be called concurrently.
type Session struct {
	client *Client
	id     string
	credential
}

// Session returns the session with this id, which need not exist. Without a token, it uses
// the client's API key.
func (c *Client) Session(id, token string) *Session {
	return &Session{client: c, id: id, credential: credential{token: token}}
}

// ID is the session's id.
func (s *Session) ID() string { return s.id }

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

// Fork makes a session that begins with a copy of this one's log, and with a fork of its
// agent. The client needs an API key. With a key, a repeat returns the same session.
func (s *Session) Fork(ctx context.Context, r protocol.ForkRequest, key string) (protocol.CreateResponse, error) {
	var out protocol.CreateResponse
	err := s.client.do(ctx, call{op: "fork session", method: http.MethodPost, path: s.path("/fork"), key: key, body: r}, &out)
	return out, err
}

// Rename names the session, and returns it. An empty title takes the name away: the session
// then has its agent's title, or else the first line of its first message.
func (s *Session) Rename(ctx context.Context, title string) (protocol.Session, error) {
	var out protocol.Session
	err := s.do(ctx, "rename session", http.MethodPatch, "", nil, protocol.RenameRequest{Title: &title}, &out)
	return out, err
}

// Mark pins or archives the session, or takes that back, and returns it; nil leaves a mark as
// it is. An ended session can be marked, too.
func (s *Session) Mark(ctx context.Context, pinned, archived *bool) (protocol.Session, error) {
	var out protocol.Session
	err := s.do(ctx, "mark session", http.MethodPatch, "", nil, protocol.RenameRequest{Pinned: pinned, Archived: archived}, &out)
	return out, err
}

// Seen says that the user has read the log up to the event seq. The session is no longer
// unread then, unless it has asked or finished behind that event.
func (s *Session) Seen(ctx context.Context, seq uint64) error {
	return s.do(ctx, "mark session as read", http.MethodPost, "/seen", nil, protocol.SeenRequest{Seq: seq}, nil)
}

// Delete ends the session and everything that it runs. After that the hub does not find it.
func (s *Session) Delete(ctx context.Context) error {
	return s.do(ctx, "delete session", http.MethodDelete, "", nil, nil, nil)
}

// Message sends a user's text. With a messageID (1 to 128 printable ASCII characters) it
// may be sent again and counts once. The hub makes an id if it is empty. The answer comes
// when the message is in the log. The agent's answer comes later, over the stream.
func (s *Session) Message(ctx context.Context, text, messageID string) (protocol.MessageResponse, error) {
	raw, err := json.Marshal(text)
	if err != nil {
		return protocol.MessageResponse{}, failed("send message", err)
	}
	return s.MessageContent(ctx, protocol.MessageRequest{Content: raw, MessageID: messageID})
}

// MessageContent is Message for content in any form that the hub accepts.
func (s *Session) MessageContent(ctx context.Context, r protocol.MessageRequest) (protocol.MessageResponse, error) {
	var out protocol.MessageResponse
	err := s.do(ctx, "send message", http.MethodPost, "/messages", nil, r, &out)
	return out, err
}

// Approve answers a question of the agent, by an option's id or by a decision. Of several
// answers one wins. The others get an *Error with protocol.CodeApprovalResolved, which says
// what won.
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

// ApprovalContent reads everything that a pending question asks. If the question's event is
// Truncated, its user must read this before an answer that allows; otherwise the hub
// refuses the answer with protocol.CodeContentUnread.
func (s *Session) ApprovalContent(ctx context.Context, interactionID string) (protocol.ApprovalContent, error) {
	var out protocol.ApprovalContent
	err := s.do(ctx, "read approval content", http.MethodGet, "/approvals/"+url.PathEscape(interactionID)+"/content", nil, nil, &out)
	return out, err
}

// Elicitation reads a pending question of the agent, also the whole of a private one. It
// needs the scope approve. Keep nothing of a private one.
func (s *Session) Elicitation(ctx context.Context, interactionID string) (protocol.ElicitationData, error) {
	var out protocol.ElicitationData
	err := s.do(ctx, "read question", http.MethodGet, "/elicitations/"+url.PathEscape(interactionID), nil, nil, &out)
	return out, err
}

// Cancel stops the turn of a message, or takes the message back if it is queued. An empty
// messageID means whatever runs. It is no error if nothing runs.
func (s *Session) Cancel(ctx context.Context, messageID string) error {
	return s.cancel(ctx, protocol.CancelRequest{MessageID: messageID})
}

// History reads a page of the event log after a cursor ("": from the beginning). limit 0 is
// the hub's most. NextAfter of the page is the cursor for the next page.
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

// The formats of a transcript.
const (
	TranscriptMarkdown = "markdown"
	TranscriptJSON     = "json"
)

// Transcript opens the session's transcript in one of the formats. It is as long as the
// log, up to some 64 MiB, and the hub makes it while it is read. Reading fails with
// io.ErrUnexpectedEOF if the hub broke it off. The caller must close it.
func (s *Session) Transcript(ctx context.Context, format string) (io.ReadCloser, error) {
	resp, err := s.client.send(ctx, call{
		op: "read transcript", method: http.MethodGet, path: s.path("/transcript"), query: url.Values{"format": {format}}, token: s.bearer(),
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Token makes another token of this session. The session goes on with its present token:
// see SetToken.
func (s *Session) Token(ctx context.Context, r protocol.TokenRequest) (protocol.TokenResponse, error) {
	var out protocol.TokenResponse
	err := s.do(ctx, "make token", http.MethodPost, "/token", nil, r, &out)
	return out, err
}

// RevokeToken ends the token that this session uses, and its open streams.
func (s *Session) RevokeToken(ctx context.Context) error {
	return s.do(ctx, "revoke token", http.MethodDelete, "/token", nil, nil, nil)
}

package protocol

import "encoding/json"

// WorkerMethod names a request to a worker.
type WorkerMethod string

// WorkerRequest asks a worker for something that no log has: a directory of a session, or
// what its agent keeps. The hub stores neither a request nor its response. It sends a
// request once, and gives up after WorkerRequestSeconds. The worker answers each request
// with one WorkerResponse of the same ID, in any order.
//
// The worker answers only about WorkingDirectory, which it resolves below its own root.
type WorkerRequest struct {
	ID               string          `json:"id"`
	Method           WorkerMethod    `json:"method"`
	UserID           string          `json:"userId"`
	SessionID        string          `json:"sessionId,omitempty"`
	Provider         string          `json:"provider,omitempty"`
	WorkingDirectory string          `json:"workingDirectory"`
	Params           json.RawMessage `json:"params,omitempty"`

	// Worktree is the id of the worktree that the session works in: see Assign. The worker
	// answers about the place of WorkingDirectory in it.
	Worktree string `json:"worktree,omitempty"`
}

// WorkerResponse answers a request: with Error, or else with Result.
type WorkerResponse struct {
	ID     string          `json:"id"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *RequestError   `json:"error,omitempty"`
}

// RequestError says why a worker did not do what was asked. Code is one of the codes of the
// API, such as CodeNotFound. The client of the API gets Detail. It names nothing beyond the
// session's directory.
type RequestError struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
}

func (e *RequestError) Error() string { return e.Detail }

// Bounds of requests to a worker.
const (
	MaxWorkerRequests    = 40        // of one worker that are not answered; it works on 8 of them
	WorkerRequestSeconds = 20        // that a worker may take
	MaxRequestParams     = 64 << 10  // bytes
	MaxRequestResult     = 768 << 10 // bytes
)

// WorkerMethods lists every method.
var WorkerMethods = []WorkerMethod{
	MethodAgentSessions, MethodFilesList, MethodFilesRead, MethodFilesSearch, MethodGitChanges, MethodGitDiff,
	MethodWorktreePrepare, MethodWorktreeMake, MethodWorktreeStatus, MethodWorktreeAct, MethodWorktreeRelease,
}

// MethodAgentSessions asks a worker which sessions an agent has from elsewhere. A worker
// that answers it also loads them: see Assign.Load.
const MethodAgentSessions WorkerMethod = "agent.sessions"

// AgentSessionsParams choose sessions of an agent. Cursor is the NextCursor of the page
// before. Exact chooses those of the request's working directory alone. Otherwise the page
// has those of every directory below the worker's root.
type AgentSessionsParams struct {
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"` // 0, or above the most: MaxAgentSessions
	Exact  bool   `json:"exact,omitempty"`
}

package protocol

import "time"

// MethodAgentSessions asks a worker which sessions an agent has from elsewhere. A worker
// that answers it also loads them: see Assign.Load.
const MethodAgentSessions WorkerMethod = "agent.sessions"

// Bounds of the sessions of an agent.
const (
	MaxAgentSessions      = 100 // of one page
	MaxAgentSessionTitle  = 256 // bytes
	MaxAgentSessionCursor = 4 << 10
)

// AgentSessionsParams choose sessions of an agent. Cursor is the NextCursor of the page
// before. Exact chooses those of the request's working directory alone. Otherwise the page
// has those of every directory below the worker's root.
type AgentSessionsParams struct {
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"` // 0, or above the most: MaxAgentSessions
	Exact  bool   `json:"exact,omitempty"`
}

// AgentSession is a session that an agent keeps. AgentSession is the agent's own id of it.
// SessionID is the hub's session that has it already, if the user has one.
type AgentSession struct {
	AgentSession     string     `json:"agentSession"`
	WorkingDirectory string     `json:"workingDirectory"`
	Title            string     `json:"title,omitempty"`
	UpdatedAt        *time.Time `json:"updatedAt,omitempty"`
	SessionID        string     `json:"sessionId,omitempty"`
}

// AgentSessions answers GET /api/agent-sessions, and MethodAgentSessions. Workspace names
// the worker's file system. A page may be empty although NextCursor is set.
type AgentSessions struct {
	Workspace  string         `json:"workspace"`
	Sessions   []AgentSession `json:"sessions"`
	NextCursor string         `json:"nextCursor,omitempty"`
}

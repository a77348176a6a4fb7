package protocol

import "time"

// Bounds of the sessions of an agent.
const (
	MaxAgentSessions      = 100 // of one page
	MaxAgentSessionTitle  = 256 // bytes
	MaxAgentSessionCursor = 4 << 10
)

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

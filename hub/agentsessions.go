package hub

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// AgentSessions are the sessions that agents keep, also those that were begun outside of
// the hub. All methods may be called concurrently.
type AgentSessions struct{ *Commands }

// AgentSessionsQuery chooses sessions of an agent. An empty WorkingDirectory stands for all
// that the worker may use. Workspace names the worker's file system; empty: any.
type AgentSessionsQuery struct {
	User             string
	Provider         string
	WorkingDirectory string
	Workspace        string
	Cursor           string
	Limit            int
}

// List asks a worker of the user, and its agent, for a page. The errors are those of
// fleet.Fleet.Ask, and ErrUnknownProvider.
func (a AgentSessions) List(ctx context.Context, q AgentSessionsQuery) (out protocol.AgentSessions, err error) {
	if q.Provider == "" {
		q.Provider = a.cfg.DefaultProvider
	}
	for name, value := range map[string]string{"provider": q.Provider, "workingDirectory": q.WorkingDirectory, "workspace": q.Workspace, "cursor": q.Cursor} {
		if err := session.CheckOptional(name, value, maxPathBytes); err != nil {
			return out, fmt.Errorf("%w: %w", session.ErrInvalid, err)
		}
	}
	if err := a.fleet.Known(ctx, q.User, q.Provider); err != nil {
		return out, err
	}
	if err := a.allow(ctx, metrics.LimitSessionRate, q.User, a.cfg.Limits.Sessions); err != nil {
		return out, err // each page starts an agent, as a session does
	}
	err = a.fleet.Ask(ctx, fleet.Asked{Workspace: q.Workspace, Provider: q.Provider, User: q.User}, protocol.WorkerRequest{
		Method: protocol.MethodAgentSessions, Provider: q.Provider, WorkingDirectory: q.WorkingDirectory,
		Params: protocol.Marshal(protocol.AgentSessionsParams{Cursor: q.Cursor, Limit: q.Limit, Exact: q.WorkingDirectory != ""}),
	}, &out)
	if err != nil {
		return out, err
	}
	if len(out.Sessions) > protocol.MaxAgentSessions {
		return out, &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: "the worker's answer cannot be read"}
	}
	if out.Sessions == nil {
		out.Sessions = []protocol.AgentSession{}
	}
	taken, err := a.taken(ctx, q.User, q.Provider)
	if err != nil {
		return out, err
	}
	for i := range out.Sessions {
		out.Sessions[i].SessionID = taken[out.Sessions[i].AgentSession]
	}
	return out, nil
}

// Bounds of the search for the sessions of a user that have an agent's session. A user with
// more sessions can have one agent's session twice.
const (
	takenPage  = 200
	takenPages = 50
)

// taken gives the agent's sessions that open sessions of a user have, with those sessions.
func (a AgentSessions) taken(ctx context.Context, user, provider string) (map[string]string, error) {
	out := make(map[string]string)
	q := store.ListQuery{User: user, Limit: takenPage}
	for range takenPages {
		page, next, err := a.store.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, snap := range page {
			if s := snap.State; s.AgentSession != "" && s.Closed == "" && s.Info.Provider == provider {
				out[s.AgentSession] = s.Info.SessionID
			}
		}
		if next == "" {
			break
		}
		q.After = next
	}
	return out, nil
}

// TakenUpError says that a session of the user has the agent's session already. Two agents
// on one session would each lack what the other one did.
type TakenUpError struct{ SessionID string }

func (e *TakenUpError) Error() string {
	return "the session " + e.SessionID + " has this session of the agent already"
}

// takeUpRate lets one of two requests at once take an agent's session up. The other one
// may come again when the first one's session is in the list.
var takeUpRate = store.Rate{PerSecond: 0.5, Burst: 1}

// takeUp gives a new session the agent's session that r names. TakenUpError, ErrNoWorker.
func (a AgentSessions) takeUp(ctx context.Context, info *session.Info, r protocol.CreateRequest) error {
	if r.AgentSession == "" {
		if r.Workspace != "" {
			return fmt.Errorf("%w: a workspace needs an agentSession", session.ErrInvalid)
		}
		return nil
	}
	if len(r.AgentSession) > protocol.MaxAgentSessionBytes || strings.ContainsFunc(r.AgentSession, unicode.IsControl) {
		return fmt.Errorf("%w: agentSession has control characters, or more than %d bytes", session.ErrInvalid, protocol.MaxAgentSessionBytes)
	}
	if err := session.CheckOptional("workspace", r.Workspace, protocol.MaxWorkspaceBytes); err != nil {
		return fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	taken, err := a.taken(ctx, info.UserID, info.Provider)
	if err != nil {
		return err
	}
	if id := taken[r.AgentSession]; id != "" {
		return &TakenUpError{id}
	}
	workspace, err := a.fleet.TakesUp(ctx, fleet.Asked{Workspace: r.Workspace, Provider: info.Provider, User: info.UserID})
	if err != nil {
		return err
	}
	bucket := session.HashJSON(protocol.Marshal([]string{info.UserID, info.Provider, r.AgentSession}))
	wait, err := a.store.TakeToken(ctx, "takeup:"+bucket, takeUpRate)
	if err != nil {
		return err
	}
	if wait > 0 {
		return &RateError{Wait: wait}
	}
	info.TakeUp = &session.TakeUp{AgentSession: r.AgentSession, Workspace: workspace}
	return nil
}

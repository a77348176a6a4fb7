package worker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"sessionhub/internal/processtree"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// Bounds of a look at the sessions that an agent keeps.
const (
	// maxListers is how many agents are started side by side only to be asked. They come
	// on top of Config.Capacity. Others wait.
	maxListers = 2
	// maxAgentPages is how many pages of the agent make one page. The rest of a long list
	// of other directories comes with the next cursor.
	maxAgentPages = 20
)

// agentSessions answers protocol.MethodAgentSessions. It starts the provider's agent, asks
// it with session/list (ACP, "Session List"), and ends it. Only sessions whose directory
// exists below the worker's root are told.
func agentSessions(ctx context.Context, w *Worker, dir string, r protocol.WorkerRequest) (any, error) {
	var p protocol.AgentSessionsParams
	if err := decodeParams(r, &p); err != nil {
		return nil, err
	}
	at, err := readListCursor(p.Cursor)
	if err != nil {
		return nil, err
	}
	provider, known := w.provider(r.Provider)
	if !known {
		return nil, refuse(protocol.CodeUnknownProvider, "the worker has no provider %q", clip(printable(r.Provider), 64))
	}
	select {
	case w.requests.listers <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l := &lister{ctx: ctx, w: w, provider: provider, agent: newAgent(processtree.Spec{
		Path: provider.Command, Args: provider.Args, Env: agentEnv(provider, w.cfg.Environ), Dir: dir,
		Grace: w.cfg.StopGrace, Supervisor: w.cfg.Supervisor,
	}, w.log.With("provider", r.Provider))}
	defer l.run()()
	if err := l.initialize(r.Provider); err != nil {
		return nil, err
	}
	page := &agentPage{w: w, limit: p.Limit, dirs: make(map[string]string)}
	if page.limit <= 0 || page.limit > protocol.MaxAgentSessions {
		page.limit = protocol.MaxAgentSessions
	}
	if p.Exact {
		page.only = dir
	}
	if err := l.list(page, at); err != nil {
		return nil, err
	}
	return protocol.AgentSessions{Workspace: w.cfg.Workspace, Sessions: page.found, NextCursor: page.next}, nil
}

// listCursor is where a page begins: a page of the agent, and how many of its sessions were
// told before.
type listCursor struct {
	Agent string `json:"a,omitempty"`
	Skip  int    `json:"s,omitempty"`
}

func (c listCursor) String() string {
	return base64.RawURLEncoding.EncodeToString(protocol.Marshal(c))
}

func readListCursor(cursor string) (c listCursor, err error) {
	if cursor == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(cursor) > protocol.MaxAgentSessionCursor || json.Unmarshal(raw, &c) != nil || c.Skip < 0 {
		return c, refuse(protocol.CodeInvalidRequest, "the cursor is none of this list")
	}
	return c, nil
}

// lister asks an agent that has no session of the hub. It belongs to one goroutine.
type lister struct {
	ctx      context.Context
	w        *Worker
	provider Provider
	agent    *agent
	loggedIn bool
}

// run starts the agent. The returned function ends it, and does not wait. The lister's place
// is free when no process of it is left.
func (l *lister) run() (end func()) {
	ready := make(chan struct{})
	close(ready)
	own := make(chan struct{}, 1) // the place of a lister is counted elsewhere
	l.w.runners.Go(func() {
		defer func() { <-l.w.requests.listers }()
		l.agent.run(l.w.life, ready, own)
	})
	return l.agent.requestStop
}

// call sends a request and waits for its answer. Everything else that the agent says is
// left aside; its requests are refused.
func (l *lister) call(method string, params any) (result json.RawMessage, err error) {
	answered := false
	l.agent.call(method, params, func(r json.RawMessage, e error) { result, err, answered = r, e, true })
	for !answered {
		select {
		case m := <-l.agent.in:
			switch m.kind {
			case lineResponse:
				l.agent.answered(m)
			case lineRequest:
				l.agent.stdin.push(encodeError(m.id, rpcMethodNotFound, "method not found: "+clip(m.method, 200)))
			case lineTooLong:
				return nil, refuse(protocol.CodeWorkerFailed, "the agent printed a line of more than 32 MiB")
			}
		case <-l.agent.gone:
			return nil, refuse(protocol.CodeWorkerFailed, "the agent ended: %s", printable(clip(l.agent.lastWords(), 2<<10)))
		case <-l.ctx.Done():
			return nil, refuse(protocol.CodeWorkerTimeout, "the agent did not answer %s in time", method)
		}
	}
	return result, err
}

// initialize shakes hands with an agent of the provider. An agent that cannot list and load
// is refused.
func (l *lister) initialize(provider string) error {
	result, err := l.call("initialize", map[string]any{
		"protocolVersion":    acpVersion,
		"clientInfo":         map[string]string{"name": "sessionhub", "version": l.w.cfg.Version},
		"clientCapabilities": map[string]any{"fs": map[string]bool{"readTextFile": false, "writeTextFile": false}, "terminal": false},
	})
	if err != nil {
		return l.failed("initialize", err)
	}
	l.w.learn(provider, result)
	var answer struct {
		AgentCapabilities struct {
			LoadSession         bool `json:"loadSession"`
			SessionCapabilities struct {
				List json.RawMessage `json:"list"`
			} `json:"sessionCapabilities"`
		} `json:"agentCapabilities"`
		AuthMethods json.RawMessage `json:"authMethods"`
	}
	_ = json.Unmarshal(result, &answer) // a part that cannot be read is not offered
	l.agent.authMethods = readAuthMethods(answer.AuthMethods)
	switch can := answer.AgentCapabilities; {
	case isNull(can.SessionCapabilities.List):
		return refuse(protocol.CodeNotImplemented, "the agent cannot list its sessions")
	case !can.LoadSession:
		return refuse(protocol.CodeNotImplemented, "the agent cannot load a session")
	}
	return nil
}

// list reads pages of the agent until the page is full, or the agent has no more.
func (l *lister) list(page *agentPage, at listCursor) error {
	for range maxAgentPages {
		params := make(map[string]string)
		if at.Agent != "" {
			params["cursor"] = at.Agent
		}
		if page.only != "" {
			params["cwd"] = page.only
		}
		result, err := l.call("session/list", params)
		if authRequired(err) && !l.loggedIn {
			if err := l.login(err); err != nil {
				return err
			}
			result, err = l.call("session/list", params)
		}
		if err != nil {
			return l.failed("session/list", err)
		}
		var answer struct {
			Sessions   []json.RawMessage `json:"sessions"`
			NextCursor string            `json:"nextCursor"`
		}
		if json.Unmarshal(result, &answer) != nil {
			return refuse(protocol.CodeWorkerFailed, "the agent's answer to session/list cannot be read")
		}
		for i := at.Skip; i < len(answer.Sessions); i++ {
			if page.full() {
				page.next = listCursor{Agent: at.Agent, Skip: i}.String()
				return nil
			}
			page.add(answer.Sessions[i])
		}
		at = listCursor{Agent: answer.NextCursor}
		if at.Agent == "" {
			page.next = ""
			return nil
		}
		if page.next = at.String(); len(page.next) > protocol.MaxAgentSessionCursor {
			return refuse(protocol.CodeWorkerFailed, "the agent's cursor is longer than %d bytes", protocol.MaxAgentSessionCursor/2)
		}
		if page.full() {
			return nil
		}
	}
	return nil
}

// login logs in as the start of a session does: without a person.
func (l *lister) login(refused error) error {
	id := l.provider.AuthMethod
	if id == "" {
		id = fittingAuth(l.agent.authMethods, l.agent.spec.Env)
	}
	if id == "" {
		return l.failed("session/list", refused)
	}
	l.loggedIn = true
	if _, err := l.call("authenticate", map[string]string{"methodId": id}); err != nil {
		return l.failed("authenticate", err)
	}
	return nil
}

// failed turns an error of the agent into one for the client.
func (l *lister) failed(method string, err error) error {
	var own *protocol.RequestError
	if errors.As(err, &own) {
		return err
	}
	return refuse(protocol.CodeWorkerFailed, "the agent refused %s: %s", method, printable(clip(err.Error(), 1<<10)))
}

// agentPage collects a page.
type agentPage struct {
	w     *Worker
	limit int
	only  string            // the one directory to be told; empty: all below the root
	dirs  map[string]string // by the agent's cwd; empty: it is not told
	found []protocol.AgentSession
	next  string
}

func (p *agentPage) full() bool { return len(p.found) >= p.limit }

// add takes one session of the agent if it may be told. Its title is the agent's own text:
// it becomes one line.
func (p *agentPage) add(raw json.RawMessage) {
	var d struct {
		SessionID string          `json:"sessionId"`
		Cwd       string          `json:"cwd"`
		Title     json.RawMessage `json:"title"`
		UpdatedAt json.RawMessage `json:"updatedAt"`
	}
	if json.Unmarshal(raw, &d) != nil || checkAgentSession(d.SessionID) != nil {
		return
	}
	dir, seen := p.dirs[d.Cwd]
	if !seen {
		if d.Cwd != "" {
			dir, _ = p.w.cfg.ResolveDir(d.Cwd) // one that is refused is not told
		}
		p.dirs[d.Cwd] = dir
	}
	if dir == "" || p.only != "" && dir != p.only {
		return
	}
	found := protocol.AgentSession{AgentSession: d.SessionID, WorkingDirectory: dir}
	var title, updated string
	if json.Unmarshal(d.Title, &title) == nil {
		found.Title = clipTo(text.Line(clip(title, 4*protocol.MaxAgentSessionTitle)), protocol.MaxAgentSessionTitle)
	}
	if json.Unmarshal(d.UpdatedAt, &updated) == nil {
		if at, err := time.Parse(time.RFC3339, updated); err == nil && at.Year() > 0 && at.Year() < 10_000 {
			at = at.UTC()
			found.UpdatedAt = &at
		}
	}
	p.found = append(p.found, found)
}

// checkAgentSession says what is wrong with an agent's id of a session.
func checkAgentSession(id string) error {
	switch {
	case id == "":
		return errors.New("no session is named")
	case len(id) > protocol.MaxAgentSessionBytes:
		return fmt.Errorf("a session id of %d bytes is over %d", len(id), protocol.MaxAgentSessionBytes)
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("a session id with control characters")
	}
	return nil
}

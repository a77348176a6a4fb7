package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Errors of Ask. An error that the worker gives is a *protocol.RequestError.
var (
	// ErrNoWorker says that no worker is there that could answer.
	ErrNoWorker = errors.New("no worker that can answer is connected")
	// ErrWorkerBusy says that the worker, or this node, has all the requests that it takes.
	ErrWorkerBusy = errors.New("the worker has too many requests: try again")
	// ErrWorkerSilent says that the worker, or the node between, did not answer in time.
	ErrWorkerSilent = errors.New("the worker did not answer in time")
)

// maxRequestMethods bounds the methods that a hello names.
const maxRequestMethods = 64

// Bounds of the requests that are not answered. Each takes memory for its response.
const (
	maxAsked        = 256 // by this node
	maxAskedPerUser = 16  // by this node for one user; also of one worker, by all nodes
	requestTime     = protocol.WorkerRequestSeconds * time.Second
)

// Asked says which worker a request is for. Where Worker is empty, any worker will do that
// the user's sessions may run on, and that has the Workspace, or offers the Provider if no
// workspace is named.
type Asked struct {
	Worker    string
	Workspace string
	Provider  string
	User      string
	Worktrees bool // the session works in a worktree: another worker would answer about the wrong directory
}

// AskedOf is the worker of a session: the one that has it, or else one that could go on
// with it.
func AskedOf(s *session.State) Asked {
	return Asked{Worker: s.Worker, Workspace: s.Workspace, Provider: s.Info.Provider, User: s.Info.UserID, Worktrees: s.Info.Worktree != nil}
}

// fits reports whether a worker is meant.
func (f *Fleet) fits(a Asked, w store.WorkerInfo, method protocol.WorkerMethod) bool {
	switch {
	case w.User != "" && w.User != a.User, !slices.Contains(w.Requests, method):
		return false
	case a.Worktrees && !slices.Contains(w.Requests, protocol.MethodWorktreeMake):
		return false
	case method == protocol.MethodAgentSessions && (!f.mayTakeUp(w.User, a.User) || !slices.Contains(w.Providers, a.Provider)):
		return false
	case a.Worker != "":
		return w.Name == a.Worker
	case a.Workspace != "":
		return w.Workspace == a.Workspace
	}
	return slices.Contains(w.Providers, a.Provider)
}

// requests are the requests to workers of which this node waits for the responses. Two
// nodes take part if the worker's link is on another node: letters go between them, and
// each node gives up by itself. So a lost letter costs the caller its time, and nothing
// stays.
type requests struct {
	mu     sync.Mutex
	open   map[string]chan protocol.WorkerResponse // by the request's id; room for one
	byUser map[string]int
}

// begin notes a request of a user, and gives the channel of its response.
func (r *requests) begin(id, user string) (<-chan protocol.WorkerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) >= maxAsked || r.byUser[user] >= maxAskedPerUser {
		return nil, ErrWorkerBusy
	}
	if r.open == nil {
		r.open, r.byUser = make(map[string]chan protocol.WorkerResponse), make(map[string]int)
	}
	c := make(chan protocol.WorkerResponse, 1)
	r.open[id] = c
	r.byUser[user]++
	return c, nil
}

func (r *requests) end(id, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, id)
	if r.byUser[user]--; r.byUser[user] == 0 {
		delete(r.byUser, user)
	}
}

// answer gives a response to whoever waits for it. It never blocks: a second response to
// one request is dropped.
func (r *requests) answer(response protocol.WorkerResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.open[response.ID] <- response: // a nil channel takes nothing
	default:
	}
}

// Ask sends a request to a worker, on whichever node its link is, and waits for the result.
// It reads the result into out. It gives r its ID and takes at most
// protocol.WorkerRequestSeconds. The errors are those above, a *protocol.RequestError, and
// those of the store.
func (f *Fleet) Ask(ctx context.Context, to Asked, r protocol.WorkerRequest, out any) error {
	began := time.Now()
	raw, err := f.ask(ctx, to, r)
	if err == nil && protocol.Decode(raw, out) != nil {
		err = &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: "the worker's answer cannot be read"}
	}
	f.Metrics.WorkerRequest(r.Method, endOf(err), time.Since(began))
	return err
}

// endOf says for the metrics how a request has ended.
func endOf(err error) metrics.RequestResult {
	var refused *protocol.RequestError
	switch {
	case err == nil:
		return metrics.RequestOK
	case errors.Is(err, ErrWorkerBusy):
		return metrics.RequestBusy
	case errors.Is(err, ErrNoWorker):
		return metrics.RequestNoWorker
	case errors.Is(err, ErrWorkerSilent):
		return metrics.RequestTimeout
	case errors.Is(err, session.ErrInvalid):
		return metrics.RequestRefused
	case !errors.As(err, &refused):
		return metrics.RequestUnsent
	}
	switch refused.Code {
	case protocol.CodeUnavailable:
		return metrics.RequestBusy
	case protocol.CodeWorkerTimeout:
		return metrics.RequestTimeout
	case protocol.CodeWorkerFailed:
		return metrics.RequestFailed
	}
	return metrics.RequestRefused
}

func (f *Fleet) ask(ctx context.Context, to Asked, r protocol.WorkerRequest) ([]byte, error) {
	if len(r.Params) > protocol.MaxRequestParams {
		return nil, fmt.Errorf("%w: more than %d bytes of parameters", session.ErrInvalid, protocol.MaxRequestParams)
	}
	r.ID, r.UserID = rand.Text(), to.User
	came, err := f.requests.begin(r.ID, to.User)
	if err != nil {
		return nil, err
	}
	defer f.requests.end(r.ID, to.User)
	limit, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := (postman{f}).pass(limit, to, r); err != nil {
		return nil, err
	}
	select {
	case response := <-came:
		return resultOf(response)
	case <-limit.Done():
		if err := ctx.Err(); errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, ErrWorkerSilent
	}
}

func resultOf(r protocol.WorkerResponse) ([]byte, error) {
	switch {
	case r.Error == nil:
		return r.Result, nil
	case r.Error.Code == codeNoWorker:
		return nil, ErrNoWorker
	case r.Error.Code == codeBusy:
		return nil, ErrWorkerBusy
	}
	return nil, r.Error
}

// Codes of a response that the node with the link makes itself.
const (
	codeNoWorker protocol.Code = "no_worker"
	codeBusy     protocol.Code = "busy"
)

// pass gives a request to the link of its worker. A worker of this node is preferred.
func (f postman) pass(ctx context.Context, to Asked, r protocol.WorkerRequest) error {
	if l := f.linkFor(func(l *link) bool { return f.fits(to, leaseKeeper{l}.info(), r.Method) }); l != nil {
		return l.asked.send(ctx, l, r, f.requests.answer)
	}
	live, err := f.store.Workers(ctx)
	if err != nil {
		return err
	}
	for _, w := range live {
		if f.fits(to, w, r.Method) && w.Node != f.Node {
			letter := protocol.Marshal(letter{From: f.Node, Worker: w.Name, Request: &r})
			return f.store.SendMail(ctx, boxOf(w.Node), letter)
		}
	}
	return ErrNoWorker
}

// TakesUp gives the workspace of a live worker that may load what the user's agents keep.
// ErrNoWorker: there is none.
func (f *Fleet) TakesUp(ctx context.Context, to Asked) (workspace string, err error) {
	live, err := f.store.Workers(ctx)
	if err != nil {
		return "", err
	}
	for _, w := range live {
		if f.fits(to, w, protocol.MethodAgentSessions) {
			return w.Workspace, nil
		}
	}
	return "", ErrNoWorker
}

// linkFor finds a link whose worker is taken in.
func (f postman) linkFor(fits func(*link) bool) *link {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.links {
		if l.isJoined() && fits(l) {
			return l
		}
	}
	return nil
}

// postman passes requests to workers, and letters between nodes.
type postman struct{ *Fleet }

// letter goes between two nodes: with a request to the node of a worker's link, or with the
// response back to the node that asked.
type letter struct {
	From     string                   `json:"from,omitempty"`
	Worker   string                   `json:"worker,omitempty"`
	Request  *protocol.WorkerRequest  `json:"request,omitempty"`
	Response *protocol.WorkerResponse `json:"response,omitempty"`
}

// boxOf is the box of a node.
func boxOf(node string) string { return "node:" + node }

// answerMail takes the letters to this node until ctx ends, and waits for the letters that
// it sends itself.
func (f postman) answerMail(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make(chan struct{}, maxAsked)
	back := func(node string, response protocol.WorkerResponse) {
		select {
		case busy <- struct{}{}:
		default:
			return // it stays without an answer
		}
		wg.Go(func() {
			defer func() { <-busy }()
			limit, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			if err := f.store.SendMail(limit, boxOf(node), protocol.Marshal(letter{Response: &response})); err != nil && ctx.Err() == nil {
				f.Log.Warn("send a worker's response to another node", "node", node, "error", err)
			}
		})
	}
	deliver := func(raw []byte) {
		var m letter
		if err := protocol.Decode(raw, &m); err != nil {
			f.Log.Error("a letter of another node cannot be read", "error", err)
			return
		}
		switch {
		case m.Response != nil:
			f.requests.answer(*m.Response)
		case m.Request != nil:
			f.answerFor(ctx, &wg, m, back)
		}
	}
	stop := f.store.OpenBox(boxOf(f.Node), deliver)
	defer stop()
	<-ctx.Done()
}

// answerFor passes another node's request to a link of this node. It does not wait.
func (f postman) answerFor(ctx context.Context, wg *sync.WaitGroup, m letter, back func(string, protocol.WorkerResponse)) {
	request, from := *m.Request, m.From
	refuse := func(code protocol.Code) {
		back(from, protocol.WorkerResponse{ID: request.ID, Error: &protocol.RequestError{Code: code}})
	}
	l := f.linkFor(func(l *link) bool { return l.hello.Worker == m.Worker && l.key.serves(request.UserID) })
	if l == nil {
		refuse(codeNoWorker)
		return
	}
	wg.Go(func() {
		limit, cancel := context.WithTimeout(ctx, requestTime)
		defer cancel()
		answer := func(response protocol.WorkerResponse) { back(from, response) }
		switch err := l.asked.send(limit, l, request, answer); {
		case errors.Is(err, ErrWorkerBusy):
			refuse(codeBusy)
		case err != nil:
			refuse(codeNoWorker)
		}
	})
}

// asked are the requests that went to the worker of one link and are not answered.
type asked struct {
	mu   sync.Mutex
	open map[string]*openRequest
	over bool // the link has ended
}

type openRequest struct {
	user   string
	answer func(protocol.WorkerResponse)
	late   *time.Timer
}

// send writes a request to the worker. answer gets the response, at most once. It must not
// block.
func (a *asked) send(ctx context.Context, l *link, r protocol.WorkerRequest, answer func(protocol.WorkerResponse)) error {
	a.mu.Lock()
	switch {
	case a.over:
		a.mu.Unlock()
		return ErrNoWorker
	case len(a.open) >= protocol.MaxWorkerRequests, a.of(r.UserID) >= maxAskedPerUser:
		a.mu.Unlock()
		return ErrWorkerBusy
	}
	if a.open == nil {
		a.open = make(map[string]*openRequest)
	}
	a.open[r.ID] = &openRequest{user: r.UserID, answer: answer, late: time.AfterFunc(requestTime, func() { a.take(r.ID) })}
	a.mu.Unlock()
	if err := l.guard(func() error { return writer{l}.sendRequest(ctx, r) }); err != nil {
		a.take(r.ID)
		return err
	}
	return nil
}

// of counts the requests of a user. a.mu is held.
func (a *asked) of(user string) (n int) {
	for _, o := range a.open {
		if o.user == user {
			n++
		}
	}
	return n
}

// sendRequest writes a request. A caller that gives up while the frame is written would cut
// the connection: from there on the write has the time of any other.
func (w writer) sendRequest(ctx context.Context, r protocol.WorkerRequest) error {
	select {
	case w.pen <- struct{}{}:
	case <-ctx.Done():
		return ErrWorkerSilent
	}
	defer func() { <-w.pen }()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.fleet.Timers.MostSilence())
	defer cancel()
	if err := w.conn.WriteFrame(limit, protocol.NewFrame(protocol.FrameRequest, r)); err != nil {
		return ErrNoWorker // the reader finds the broken link
	}
	return nil
}

// take ends the wait for a response, and gives who waits for it, or nil.
func (a *asked) take(id string) func(protocol.WorkerResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.open[id]
	if o == nil {
		return nil
	}
	delete(a.open, id)
	o.late.Stop()
	return o.answer
}

// came gives a worker's response to who waits for it. A response that nobody waits for is
// dropped: it came late, or a worker made it up.
func (a *asked) came(r protocol.WorkerResponse) {
	if answer := a.take(r.ID); answer != nil {
		answer(r)
	}
}

// end tells all that wait that the link has ended.
func (a *asked) end() {
	a.mu.Lock()
	a.over = true
	open := a.open
	a.open = nil
	a.mu.Unlock()
	for id, o := range open {
		o.late.Stop()
		o.answer(protocol.WorkerResponse{ID: id, Error: &protocol.RequestError{Code: codeNoWorker}})
	}
}

// readResponse reads a frame if it is a response. Responses do not wait with the events:
// they need no store.
func readResponse(raw []byte) (r protocol.WorkerResponse, is bool, err error) {
	const begin = `{"type":"response"`
	if len(raw) < len(begin) || string(raw[:len(begin)]) != begin {
		return r, false, nil
	}
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil {
		return r, true, err
	}
	err = protocol.Decode(f.Data, &r)
	if r.Error != nil {
		r.Error.Detail = session.ClipTo(r.Error.Detail, maxDetailBytes)
	}
	if err == nil && len(r.Result) > protocol.MaxRequestResult {
		r = protocol.WorkerResponse{ID: r.ID, Error: &protocol.RequestError{
			Code: protocol.CodePayloadTooLarge, Detail: fmt.Sprintf("the worker's answer is longer than %d bytes", protocol.MaxRequestResult),
		}}
	}
	return r, true, err
}

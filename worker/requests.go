package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"sessionhub/protocol"
)

const (
	// maxRequestsAtWork is how many requests of the hub are worked on side by side. Others
	// wait.
	maxRequestsAtWork = 8
	// maxRequestsPerUser is how many of one user's are.
	maxRequestsPerUser = 4
	// requestTime is how long one may take. The hub waits a little longer.
	requestTime = (protocol.WorkerRequestSeconds - 3) * time.Second
)

// requestHandler answers one method. dir is the session's working directory: it exists,
// lies below the worker's root, and has no links. The result becomes JSON. An error that is
// a *protocol.RequestError goes to the client; of others it learns only that the worker
// failed.
type requestHandler func(ctx context.Context, w *Worker, dir string, r protocol.WorkerRequest) (any, error)

// requestHandlers are all methods that a worker answers.
var requestHandlers = map[protocol.WorkerMethod]requestHandler{
	protocol.MethodFilesList:   listFiles,
	protocol.MethodFilesRead:   readFile,
	protocol.MethodFilesSearch: searchFiles,
	protocol.MethodGitChanges:  gitChanges,
	protocol.MethodGitDiff:     gitDiff,

	protocol.MethodAgentSessions: agentSessions,

	protocol.MethodWorktreePrepare: prepareWorktree,
	protocol.MethodWorktreeMake:    makeWorktree,
	protocol.MethodWorktreeStatus:  worktreeStatus,
	protocol.MethodWorktreeAct:     actOnWorktree,
	protocol.MethodWorktreeRelease: releaseWorktree,
}

// requestMethods lists the methods for the hello. A worker without a place for worktrees
// gets no session that needs one.
func (w *Worker) requestMethods() []protocol.WorkerMethod {
	var all []protocol.WorkerMethod
	for m := range requestHandlers {
		if w.cfg.Worktrees != "" || !isOfWorktrees(m) {
			all = append(all, m)
		}
	}
	slices.Sort(all)
	return all
}

// refuse makes the error of a request that is the client's, or that the client can mend.
func refuse(code protocol.Code, format string, args ...any) error {
	return &protocol.RequestError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// requests counts the hub's requests. The worker's mutex guards it.
type requests struct {
	open    int           // whose response is not written
	replies [][]byte      // responses to be written
	listers chan struct{} // holds a token for each agent that runs to be asked only; has its own lock
	atWork  *places       // has its own lock
}

// onRequest begins to answer a request of the hub.
func (w *Worker) onRequest(r protocol.WorkerRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.requests.open >= protocol.MaxWorkerRequests {
		w.sendLocked(protocol.NewFrame(protocol.FrameResponse, protocol.WorkerResponse{
			ID: r.ID, Error: &protocol.RequestError{Code: protocol.CodeUnavailable, Detail: "the worker has too many requests: try again"},
		}))
		return
	}
	w.requests.open++
	w.runners.Go(func() {
		frame := protocol.NewFrame(protocol.FrameResponse, w.answer(r))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests.replies = append(w.requests.replies, frame)
		w.wakeWriter()
	})
}

// nextReplyLocked takes a response for the writer.
func (w *Worker) nextReplyLocked(batch [][]byte) [][]byte {
	reply := w.requests.replies[0]
	w.requests.replies = w.requests.replies[1:]
	w.requests.open--
	w.replied = true
	return append(batch, reply)
}

// answer does what a request asks.
func (w *Worker) answer(r protocol.WorkerRequest) protocol.WorkerResponse {
	ctx, cancel := context.WithTimeout(w.life, requestTime)
	defer cancel()
	result, err := w.handle(ctx, r)
	var refused *protocol.RequestError
	switch {
	case err == nil:
	case errors.As(err, &refused):
	case errors.Is(err, ErrWorkingDirectory):
		refused = &protocol.RequestError{Code: protocol.CodeWorkingDirectory, Detail: err.Error()}
	case ctx.Err() != nil:
		refused = &protocol.RequestError{Code: protocol.CodeWorkerTimeout, Detail: "the worker did not finish in time"}
	default:
		w.log.Error("answer a request of the hub", "method", string(r.Method), "session", r.SessionID, "error", err)
		refused = &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: "the worker could not do it; its log says more"}
	}
	if refused == nil {
		raw := protocol.Marshal(result)
		if len(raw) <= protocol.MaxRequestResult {
			return protocol.WorkerResponse{ID: r.ID, Result: raw}
		}
		refused = &protocol.RequestError{Code: protocol.CodePayloadTooLarge, Detail: "the answer is too long: ask for less"}
	}
	return protocol.WorkerResponse{ID: r.ID, Error: refused}
}

// handle waits for its turn, and calls the method's handler. A panic in it ends the request
// only.
func (w *Worker) handle(ctx context.Context, r protocol.WorkerRequest) (result any, err error) {
	handler := requestHandlers[r.Method]
	if handler == nil {
		return nil, refuse(protocol.CodeNotImplemented, "the worker knows no %q", clip(printable(string(r.Method)), 64))
	}
	release, err := w.requests.atWork.take(ctx, r.UserID)
	if err != nil {
		return nil, err
	}
	defer release()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v: %s", p, clip(string(debug.Stack()), 4096))
		}
	}()
	dir, err := w.dirOf(r)
	if err != nil {
		return nil, err
	}
	return handler(ctx, w, dir, r)
}

// decodeParams reads the parameters of a request.
func decodeParams(r protocol.WorkerRequest, into any) error {
	if len(r.Params) == 0 {
		return nil
	}
	if err := protocol.Decode(r.Params, into); err != nil {
		return refuse(protocol.CodeInvalidRequest, "parameters: %v", err)
	}
	return nil
}

package chat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"sessionhub/client"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// patience is how long a hub that says "later" is asked again before a person
// is told so.
const patience = time.Minute

// askAgain is how soon it is asked when it does not say so.
const askAgain = time.Second

// again makes a request until the hub takes it or refuses it for good. It comes
// back when the hub says so, be it in a moment; without a time, after a second.
func again(ctx context.Context, o Options, request func() error) error {
	until := time.Now().Add(patience)
	for {
		err := request()
		var refused *client.Error
		if !errors.As(err, &refused) || !refused.Temporary() || full(refused.Code) {
			return err
		}
		wait := refused.RetryAfter
		if wait <= 0 {
			wait = askAgain
		}
		if time.Now().Add(wait).After(until) {
			return err
		}
		fmt.Fprintf(o.Err, "sessionhub chat: %s; again in %s\n", text.Line(err.Error()), wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// full reports a refusal that ends by what somebody does, and not by time.
func full(code protocol.Code) bool {
	return code == protocol.CodeSessionLimit || code == protocol.CodeConnectionLimit
}

// advice is what to do about a refusal of the hub.
var advice = map[protocol.Code]string{
	protocol.CodeUnauthorized:     "set SESSIONHUB_API_KEY (or --key-file) to a key of this hub, or SESSIONHUB_TOKEN to a token of the session",
	protocol.CodeTokenExpired:     "get another token of the session, or set SESSIONHUB_API_KEY",
	protocol.CodeTokenRevoked:     "get another token of the session, or set SESSIONHUB_API_KEY",
	protocol.CodeForbidden:        "use a key of the session's own user",
	protocol.CodeScope:            "get a token with the scopes read, write and approve",
	protocol.CodeHostRefused:      "call the hub by the name that it knows itself by: see its --public-url and --allowed-origins",
	protocol.CodeNotFound:         "look for the session in the dashboard, or leave --session out for another one",
	protocol.CodeUnknownProvider:  "name one of the hub's providers: GET /api/providers lists them",
	protocol.CodeWorkingDirectory: "give --dir a directory below the worker's --workspace-root, on the worker's machine",
	protocol.CodeSessionEnded:     "leave --session out for another one",
	protocol.CodeSessionLimit:     "delete sessions that are not needed any more (chat --remove does so in the end), or raise --max-sessions-per-user",
	protocol.CodeConnectionLimit:  "close other windows that show this session, or raise --max-connections-per-session",
	protocol.CodeMessageRunning:   "the agent has it already: /queue lists what still waits",
	protocol.CodeQueueFull:        "wait until the agent has answered some of the messages, and send it again",
	protocol.CodeRateLimited:      "wait a moment, and send it again",
	protocol.CodePayloadTooLarge:  "send it in parts, or raise the hub's limit: --max-message-bytes, or for files --max-attachment-bytes",
	protocol.CodeApprovalExpired:  "ask the agent to try again",
	protocol.CodeUnavailable:      "wait until the hub's store is back; its /readyz says when",
	protocol.CodeInternal:         "look into the hub's log",
	protocol.CodeContentUnread:    "read the whole of it first: Space shows it",
}

// explain adds to an error what to do about it.
func explain(err error) error {
	var refused *client.Error
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		if what := advice[refused.Code]; what != "" {
			return fmt.Errorf("%w; %s", err, what)
		}
		if refused.Code == "" && refused.Status != 0 {
			return fmt.Errorf("%w; the answer was not a hub's: see whether --hub names one, and what stands before it", err)
		}
	case errors.As(err, &dns):
		return fmt.Errorf("%w; see whether --hub names the right machine", err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w; start one (sessionhub serve), or name another by --hub", err)
	}
	return err
}

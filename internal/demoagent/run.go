// Package demoagent is an ACP agent without a model: `sessionhub demo-agent`. It
// speaks JSON-RPC lines over stdio as any agent does, and obeys the first line of
// a message ("/help" lists how), so that a hub can be tried, shown and tested
// over the whole path without an account anywhere.
//
// It is the hub's independent counterpart: the protocol is the SDK's, not ours.
// Only the order of what arrives is kept here (see forward), because the SDK
// handles each request on a goroutine of its own, and a session/cancel could
// overtake the prompt it belongs to, or hit the next one.
package demoagent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	acp "github.com/coder/acp-go-sdk"
)

const (
	// maxLineBytes is the longest line that is read: the SDK's own limit.
	maxLineBytes = 10 << 20
	// endGrace is how long turns may take to end once Run is to end. They need
	// longer only when nobody reads what they write.
	endGrace = 2 * time.Second
)

// Run serves one client until in ends (then it returns nil, or the error of
// reading; a line over 10 MiB is one) or ctx ends (then nil). Turns that still run are cancelled, and the
// commands that they run are killed, before it returns. /crash ends the whole
// process.
//
// A Read of in that waits cannot be interrupted: after the end of ctx it stays
// behind until in is closed or gives way. Writes to out come one at a time, a
// whole line each.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	life, end := context.WithCancel(ctx)
	defer end()
	pr, pw := io.Pipe()
	a := newAgent(life)
	a.conn = acp.NewAgentSideConnection(a, out, pr)
	// The SDK logs lines that it cannot read, and those can be a user's words.
	a.conn.SetLogger(slog.New(slog.DiscardHandler))

	ended := make(chan error, 1)
	go func() { ended <- a.forward(in, pw) }()
	var err error
	select {
	case err = <-ended:
	case <-life.Done():
	case <-a.conn.Done(): // the SDK gave up on its own
		err = errors.New("serve acp: the connection was given up")
	}
	end()
	_ = pr.Close() // a forward that still runs finds nobody to forward to
	_ = pw.Close()
	if waitErr := a.close(endGrace); err == nil {
		err = waitErr
	}
	return err
}

// forward passes the client's lines on to the SDK, in order, and keeps to itself
// what the SDK would handle out of order or would log: it notes each prompt as it
// arrives, obeys session/cancel, and drops garbage and unknown notifications.
func (a *agent) forward(in io.Reader, to io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLineBytes)
	for lines.Scan() {
		var m struct {
			ID     *json.RawMessage `json:"id"` // nil also for null, as the SDK reads it
			Method string           `json:"method"`
			Params json.RawMessage  `json:"params"`
		}
		line := bytes.TrimSpace(lines.Bytes())
		if json.Unmarshal(line, &m) != nil {
			continue
		}
		if m.ID == nil && m.Method != cancelRequest {
			if m.Method == acp.AgentMethodSessionCancel {
				var cancel acp.CancelNotification
				if json.Unmarshal(m.Params, &cancel) == nil {
					a.cancelSession(cancel.SessionId)
				}
			}
			continue
		}
		if m.Method == acp.AgentMethodSessionPrompt {
			// The same tests as the SDK's: a prompt that it refuses never comes
			// to Prompt, where its turn is taken up.
			var prompt acp.PromptRequest
			if json.Unmarshal(m.Params, &prompt) == nil && prompt.Validate() == nil {
				a.promptArrived(prompt.SessionId)
			}
		}
		if _, err := to.Write(append(line[:len(line):len(line)], '\n')); err != nil {
			return nil // Run is ending
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read from client: %w", err)
	}
	return nil
}

// cancelRequest is the notification that cancels one request (ACP,
// "Cancellation"). The SDK handles it at once, in order.
const cancelRequest = "$/cancel_request"

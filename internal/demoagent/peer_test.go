package demoagent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"go.uber.org/goleak"
)

// TestMain is also the agent's program, for the tests that need a process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "demo-agent" {
		if err := Run(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// frame is one JSON-RPC message from the agent.
type frame struct {
	ID     *json.RawMessage `json:"id"`
	Method string           `json:"method"`
	Params struct {
		SessionID string         `json:"sessionId"`
		Update    map[string]any `json:"update"`
		ToolCall  map[string]any `json:"toolCall"`
		Options   []struct {
			OptionID string `json:"optionId"`
			Kind     string `json:"kind"`
			Name     string `json:"name"`
		} `json:"options"`
	} `json:"params"`
	Result map[string]any `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// peer is a client written by hand, so that it shares no code, and no error, with
// the SDK that the agent uses.
type peer struct {
	t      *testing.T
	in     io.WriteCloser
	frames chan frame
	nextID int
	ended  chan error // what Run returned
}

// limit is how long a test waits for anything.
const limit = judge.Patience

// connect starts an agent on pipes and ends it with the test.
func connect(t *testing.T) *peer {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &peer{t: t, in: inW, frames: make(chan frame), ended: make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		p.ended <- Run(context.WithoutCancel(t.Context()), inR, outW)
		outW.Close()
	})
	wg.Go(func() { p.read(outR) })
	t.Cleanup(func() {
		inW.Close()
		go func() { // what nobody has read
			for range p.frames {
			}
		}()
		wg.Wait()
	})
	p.request("initialize", `{"protocolVersion":1,"clientCapabilities":{}}`)
	p.result()
	return p
}

func (p *peer) read(r io.Reader) {
	defer close(p.frames)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var f frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			p.t.Errorf("agent wrote %q: %v", lines.Bytes(), err)
		}
		p.frames <- f
	}
}

func (p *peer) line(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, text+"\n"); err != nil {
		p.t.Fatalf("write to agent: %v", err)
	}
}

// request returns the id that its answer will have.
func (p *peer) request(method, params string) string {
	p.t.Helper()
	p.nextID++
	p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, p.nextID, method, params))
	return fmt.Sprint(p.nextID)
}

func (p *peer) next() frame {
	p.t.Helper()
	select {
	case f, ok := <-p.frames:
		if !ok {
			p.t.Fatal("agent closed its output")
		}
		return f
	case <-time.After(limit):
		p.t.Fatalf("agent said nothing for %v", limit)
	}
	panic("unreachable")
}

// result expects an answer without an error.
func (p *peer) result() map[string]any {
	p.t.Helper()
	f := p.next()
	if f.ID == nil || f.Method != "" || f.Error != nil {
		p.t.Fatalf("got %+v, want a result", f)
	}
	return f.Result
}

// session creates one and returns its id.
func (p *peer) session(cwd string) string {
	p.t.Helper()
	p.request("session/new", fmt.Sprintf(`{"cwd":%q,"mcpServers":[]}`, cwd))
	id, _ := p.result()["sessionId"].(string)
	if id == "" {
		p.t.Fatal("no session id")
	}
	return id
}

func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (p *peer) prompt(session, text string) string {
	p.t.Helper()
	return p.request("session/prompt", fmt.Sprintf(`{"sessionId":%q,"prompt":[{"type":"text","text":%s}]}`, session, quote(text)))
}

func (p *peer) cancel(session string) {
	p.t.Helper()
	p.line(fmt.Sprintf(`{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":%q}}`, session))
}

// choose answers a request for permission.
func (p *peer) choose(f frame, option string) {
	p.t.Helper()
	p.line(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"outcome":{"outcome":"selected","optionId":%q}}}`, *f.ID, option))
}

// reply is all that a turn brought.
type reply struct {
	text, thought string
	pieces        []string // of text
	updates       []map[string]any
	asked         []frame
	stop          string
	usage         map[string]any
	errCode       int
	errMessage    string
}

// kinds lists the kinds of the updates, equal ones in a row once.
func (r *reply) kinds() string {
	var kinds []string
	for _, u := range r.updates {
		k, _ := u["sessionUpdate"].(string)
		if len(kinds) == 0 || kinds[len(kinds)-1] != k {
			kinds = append(kinds, k)
		}
	}
	return strings.Join(kinds, " ")
}

// last is the newest value of a tool call's field.
func (r *reply) last(field string) any {
	var v any
	for _, u := range r.updates {
		if u["toolCallId"] != nil && u[field] != nil {
			v = u[field]
		}
	}
	return v
}

// statuses lists the tool calls' statuses in order.
func (r *reply) statuses() string {
	var all []string
	for _, u := range r.updates {
		if s, ok := u["status"].(string); ok && (len(all) == 0 || all[len(all)-1] != s) {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

// turn reads until the answer to the prompt. on gets each other frame first; a nil
// one fails on requests.
func (p *peer) turn(session, id string, on func(*reply, frame)) *reply {
	p.t.Helper()
	r := &reply{}
	for {
		f := p.next()
		switch {
		case f.Method == "session/update":
			if f.Params.SessionID != session {
				p.t.Fatalf("update for session %q, want %q", f.Params.SessionID, session)
			}
			r.add(f.Params.Update)
		case f.Method == "session/request_permission":
			r.asked = append(r.asked, f)
			if on == nil {
				p.t.Fatalf("asked for permission: %+v", f)
			}
		case f.Method == "$/cancel_request":
			// The SDK tells the client that its answer is no longer waited for.
		case f.ID != nil && string(*f.ID) == id:
			if f.Error != nil {
				r.errCode, r.errMessage = f.Error.Code, f.Error.Message
				return r
			}
			r.stop, _ = f.Result["stopReason"].(string)
			r.usage, _ = f.Result["usage"].(map[string]any)
			return r
		default:
			p.t.Fatalf("unexpected %+v", f)
		}
		if on != nil {
			on(r, f)
		}
	}
}

func (r *reply) add(u map[string]any) {
	r.updates = append(r.updates, u)
	content, _ := u["content"].(map[string]any)
	text, _ := content["text"].(string)
	switch u["sessionUpdate"] {
	case "agent_message_chunk":
		r.text += text
		r.pieces = append(r.pieces, text)
	case "agent_thought_chunk":
		r.thought += text
	}
}

// say runs a turn in which nothing is asked.
func (p *peer) say(session, text string) *reply {
	p.t.Helper()
	return p.turn(session, p.prompt(session, text), nil)
}

// sayAnd runs a turn in which every request gets the same option.
func (p *peer) sayAnd(session, text, option string) *reply {
	p.t.Helper()
	return p.turn(session, p.prompt(session, text), func(_ *reply, f frame) {
		if f.Method == "session/request_permission" {
			p.choose(f, option)
		}
	})
}

// sayAndCancel cancels when the condition holds for the first time, and returns
// how long the end then took.
func (p *peer) sayAndCancel(session, text string, when func(*reply, frame) bool) (*reply, time.Duration) {
	p.t.Helper()
	var began time.Time
	r := p.turn(session, p.prompt(session, text), func(r *reply, f frame) {
		if began.IsZero() && when(r, f) {
			began = time.Now()
			p.cancel(session)
		}
	})
	if began.IsZero() {
		p.t.Fatalf("nothing was cancelled in %q: %+v", text, r)
	}
	return r, time.Since(began)
}

// safeBuffer can be read while it is written to.
type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

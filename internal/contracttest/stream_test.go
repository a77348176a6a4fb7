package contracttest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// stream is a subscriber of either transport, and all that it has read.
type stream struct {
	t      *testing.T
	next   func() (hubtest.Frame, error)
	seen   []hubtest.Frame
	passed []hubtest.Frame // read by command on the way to its answer: until looks at them first
	head   http.Header     // SSE
	ws     *websocket.Conn
	end    error // why it ended
}

// streamTime bounds every stream of a test.
const streamTime = 2 * judge.Patience

func (s session) sse(query string, header ...string) *stream {
	s.n.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), streamTime)
	req, err := http.NewRequestWithContext(ctx, "GET", s.EventsURL+query, nil)
	if err != nil {
		s.n.t.Fatal(err)
	}
	if len(header) == 0 || header[0] == "Last-Event-ID" || header[0] == "Accept-Encoding" {
		header = append(header, s.bearer()...)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.n.client.Do(req)
	if err != nil {
		s.n.t.Fatal(err)
	}
	s.n.t.Cleanup(func() { stop(); _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		s.n.t.Fatalf("sse%s: %d", query, resp.StatusCode)
	}
	in := bufio.NewReader(resp.Body)
	st := &stream{t: s.n.t, head: resp.Header}
	st.next = func() (hubtest.Frame, error) { return hubtest.ReadSSE(in) }
	return st
}

// socket opens the WebSocket with the session's token, or as opts says.
func (s session) socket(query string, opts *websocket.DialOptions) (*stream, *http.Response, error) {
	if opts == nil {
		opts = &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol, protocol.BearerPrefix + s.Token}}
	}
	ctx, stop := context.WithTimeout(context.Background(), streamTime)
	s.n.t.Cleanup(stop)
	c, resp, err := websocket.Dial(ctx, s.WebsocketURL+query, opts)
	if err != nil {
		return nil, resp, err
	}
	s.n.t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(8 << 20)
	st := &stream{t: s.n.t, ws: c}
	st.next = func() (hubtest.Frame, error) { return hubtest.ReadSocket(ctx, c) }
	return st, resp, nil
}

func (s session) ws(query string) *stream {
	s.n.t.Helper()
	st, _, err := s.socket(query, nil)
	if err != nil {
		s.n.t.Fatal(err)
	}
	return st
}

// until reads up to the first frame of the type and gives it. What came before
// is in seen.
func (st *stream) until(want string) hubtest.Frame {
	st.t.Helper()
	matches := func(f hubtest.Frame) bool { return string(f.Type) == want || f.Raw == "" && f.Name == want }
	for len(st.passed) > 0 {
		f := st.passed[0]
		if st.passed = st.passed[1:]; matches(f) {
			return f
		}
	}
	for {
		f, err := st.next()
		if err != nil {
			st.end = err
			st.t.Fatalf("no %s before the end: %v; the last of %d frames: %s", want, err, len(st.seen), st.last().Raw)
		}
		if st.seen = append(st.seen, f); matches(f) {
			return f
		}
	}
}

// last is the latest frame.
func (st *stream) last() hubtest.Frame {
	if len(st.seen) == 0 {
		return hubtest.Frame{}
	}
	return st.seen[len(st.seen)-1]
}

// rest reads to the end and gives the close code, 0 for SSE in order, -1 for a
// connection that broke.
func (st *stream) rest() int {
	st.t.Helper()
	for {
		f, err := st.next()
		if err == nil {
			st.seen = append(st.seen, f)
			continue
		}
		st.end = err
		if st.ws == nil {
			if err == io.EOF {
				return 0
			}
			return -1
		}
		return int(websocket.CloseStatus(err))
	}
}

// types are those of the frames read so far.
func (st *stream) types() string {
	var out []string
	for _, f := range st.seen {
		if f.Type != "" {
			out = append(out, string(f.Type))
		}
	}
	return strings.Join(out, " ")
}

// text joins the agent's answer, of one kind.
func (st *stream) text(kind string) string {
	var b strings.Builder
	for _, f := range st.seen {
		if f.Type == protocol.EventOutput {
			if d := hubtest.Decode[protocol.OutputData](st.t, f.Data); string(d.Kind) == kind {
				b.WriteString(d.Text)
			}
		}
	}
	return b.String()
}

// turn sends a message and reads to its end.
func (s session) turn(st *stream, text string) protocol.CompleteData {
	s.n.t.Helper()
	st.seen = nil
	m := s.send(text)
	for {
		if c := hubtest.Decode[protocol.CompleteData](s.n.t, st.until("complete").Data); c.MessageID == m.MessageID {
			return c
		}
	}
}

// command sends a WebSocket command and gives the answer to it.
func (st *stream) command(kind, id, data string) answer {
	st.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), judge.Patience)
	defer stop()
	if err := st.ws.Write(ctx, websocket.MessageText, []byte(`{"type":"`+kind+`","id":"`+id+`","data":`+data+`}`)); err != nil {
		st.t.Fatal(err)
	}
	for {
		f, err := st.next()
		if err != nil {
			st.t.Fatalf("%s %s: %v", kind, id, err)
		}
		if a := hubtest.Decode[answer](st.t, []byte(f.Raw)); a.ID == id {
			return a
		}
		st.seen, st.passed = append(st.seen, f), append(st.passed, f)
	}
}

// answer is an ack or an error.
type answer struct {
	Type, ID string
	Data     json.RawMessage
	Error    protocol.CommandErrorBody
}

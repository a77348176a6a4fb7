package bench

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// record notes what a parser found.
type record struct{ log []string }

func (r *record) frame(n notice) error {
	at, _ := n.time()
	r.log = append(r.log, fmt.Sprintf("%s %d-%d %d", n.kind, n.first, n.seq, at.UnixMilli()))
	if string(n.kind) == "refuse" {
		return errors.New("refused by the test")
	}
	return nil
}
func (r *record) ping(p []byte)   { r.log = append(r.log, "ping "+string(p)) }
func (r *record) closed(code int) { r.log = append(r.log, fmt.Sprint("closed ", code)) }
func (r *record) comment()        { r.log = append(r.log, "comment") }

var at = time.UnixMilli(1_767_323_045_678)

func entries() []protocol.Entry {
	var all []protocol.Entry
	for i, size := range []int{1, 10, 100, 1000, 70_000} {
		data := protocol.Marshal(protocol.OutputData{Text: strings.Repeat("x", size), Kind: "text"})
		all = append(all, protocol.Entry{Seq: uint64(i + 8), Type: protocol.EventOutput, Tail: protocol.AppendEventTail(nil, protocol.EventOutput, at, data)})
	}
	all[2].From = 9
	return all
}

var wantEntries = []string{
	"output 8-8 1767323045678", "output 9-9 1767323045678", "output 9-10 1767323045678",
	"output 11-11 1767323045678", "output 12-12 1767323045678",
}

// What the hub's own encoders write must be read whatever way it is cut.
func TestParsersReadWhatTheHubWrites(t *testing.T) {
	control := protocol.AppendControl(nil, protocol.ControlCaughtUp, at, protocol.CaughtUp{Seq: 7})
	ws := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	ws = protocol.AppendFrame(ws, control)
	ws = append(ws, protocol.PingFrame...)
	ws = append(ws, 0x89, 2, 'h', 'i')
	sse := protocol.AppendSSERetry([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"), time.Second)
	sse = protocol.AppendControlSSE(sse, protocol.ControlCaughtUp, control)
	sse = append(sse, protocol.SSEComment...)
	for _, e := range entries() {
		ws = protocol.AppendEventFrame(ws, e)
		sse = protocol.AppendEventSSE(sse, "epoch1", e)
	}
	ws = append(ws, 0x88, 2, 4410>>8, 4410&0xff)

	caughtUp := "caught_up 0-0 1767323045678"
	for name, tc := range map[string]struct {
		stream []byte
		parser func() parser
		want   []string
	}{
		"websocket": {
			ws, func() parser { return &headParser{want: "HTTP/1.1 101 ", next: &wsParser{}} },
			append(append([]string{caughtUp, "ping ", "ping hi"}, wantEntries...), "closed 4410"),
		},
		"sse": {
			sse, func() parser { return &headParser{want: "HTTP/1.1 200 ", next: &sseParser{}} },
			append([]string{caughtUp, "comment"}, wantEntries...),
		},
	} {
		for _, piece := range []int{1, 2, 3, 7, 64, 143, 144, 145, 160, 1000, 4096, len(tc.stream)} {
			t.Run(fmt.Sprint(name, " in pieces of ", piece), func(t *testing.T) {
				var got record
				p := tc.parser()
				for rest := tc.stream; len(rest) > 0; {
					n := min(piece, len(rest))
					if err := p.feed(rest[:n:n], &got); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if g, w := strings.Join(got.log, "\n"), strings.Join(tc.want, "\n"); g != w {
					t.Errorf("got\n%s\nwant\n%s", g, w)
				}
			})
		}
	}
}

func TestParsersRefuseWhatAHubDoesNotSend(t *testing.T) {
	for name, tc := range map[string]struct {
		p  parser
		in string
	}{
		"a refusal":         {&headParser{want: "HTTP/1.1 101 ", next: &wsParser{}}, "HTTP/1.1 429 Too Many Requests\r\n\r\n"},
		"an endless head":   {&headParser{want: "HTTP/1.1 101 ", next: &wsParser{}}, strings.Repeat("x", maxHeadBytes+1)},
		"a masked frame":    {&wsParser{}, "\x81\x85aaaahello"},
		"a fragment":        {&wsParser{}, "\x01\x02{}"},
		"binary":            {&wsParser{}, "\x82\x02{}"},
		"no JSON":           {&wsParser{}, "\x81\x02hi"},
		"another order":     {&sseParser{}, `data: {"type":1}` + "\n"},
		"a seq without end": {&sseParser{}, `data: {"seq":x,"type":"output"}` + "\n"},
		"what is refused":   {&sseParser{}, `data: {"type":"refuse"}` + "\n"},
	} {
		if err := tc.p.feed([]byte(tc.in), &record{}); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestPongIsMasked(t *testing.T) {
	if got := string(appendPong(nil, []byte("hi"))); got != "\x8a\x82\x00\x00\x00\x00hi" {
		t.Errorf("% x", got)
	}
}

// The time at which a text was made is found in it, also at the longest beginning
// that a frame has, and nothing else is taken for one.
func TestStampIsReadBack(t *testing.T) {
	at := time.Unix(1_767_323_045, 678_901_234)
	head := `{"seq":999999999,"type":"output","time":"2026-01-02T03:04:05.678Z","data":{"messageId":"` + strings.Repeat("m", 26) + `","text":"`
	p := append(appendStamp([]byte(head), at), strings.Repeat("x", 200)...)
	n := notice{json: p[:prefixBytes]}
	if got, ok := n.made(); !ok || !got.Equal(at) {
		t.Errorf("%s, %v", got, ok)
	}
	for _, text := range []string{"", "no stamp, but long enough", "1767323045678901234x", "17673230456789012345 "} {
		if got, ok := (notice{json: []byte(head + text)}).made(); ok {
			t.Errorf("%q is %s", text, got)
		}
	}
}

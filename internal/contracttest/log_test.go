package contracttest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Creation logs status{idle} as the first event; seq grows by one; the bytes of
// an event are the same on SSE, on WebSocket and in history; times are in
// milliseconds.
func TestEventsAreTheSameEverywhere(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	ws, sse := s.ws(""), s.sse("")
	s.send("/plan")
	s.send("/think hard")
	for range 2 {
		ws.until("complete")
		sse.until("complete")
	}
	judge.Within(t, 5e9, "it is idle", func() bool { return s.view().Status == "idle" })
	h := ok[protocol.History](n, 200, "GET", s.path+"/history", "", s.bearer()...)
	for len(logged(ws)) < len(h.Events) {
		ws.nextEvent()
	}
	for len(logged(sse)) < len(h.Events) {
		sse.nextEvent()
	}
	time := regexp.MustCompile(`^\{"seq":(\d+),"type":"[a-z_]+","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","data":\{`)
	for i, e := range h.Events {
		m := time.FindStringSubmatch(string(e))
		if m == nil || m[1] != fmt.Sprint(i+1) {
			t.Fatalf("event %d is %s", i+1, e)
		}
		if w, x := logged(ws)[i], logged(sse)[i]; w.Raw != string(e) || x.Raw != string(e) {
			t.Fatalf("history %s\nWebSocket %s\nSSE %s", e, w.Raw, x.Raw)
		}
	}
	if first := hubtest.Decode[protocol.StatusData](t, logged(ws)[0].Data); first.Status != "idle" {
		t.Errorf("the first event is %s", h.Events[0])
	}
	var before string
	for _, f := range logged(ws) {
		if f.Type == "status" {
			if now := string(f.Data); now == before {
				t.Errorf("the same status twice in a row: %s", now)
			} else {
				before = now
			}
		}
	}
}

// logged are the events among what a stream has read.
func logged(st *stream) (out []hubtest.Frame) {
	for _, f := range st.seen {
		if f.Seq != 0 {
			out = append(out, f)
		}
	}
	return out
}

// The SSE response: its headers, its fields, never compressed.
func TestSSEResponse(t *testing.T) {
	n := serve(t, "--allowed-origins", "https://page.example")
	s := n.create(`{}`)
	s.send("hello")
	st := s.sse("", "Accept-Encoding", "gzip, br")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no",
		"Content-Encoding": "", "X-Content-Type-Options": "nosniff",
	} {
		if got := st.head.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	st.until("complete")
	if st.seen[0].Name != "retry" || st.seen[0].ID == "" {
		t.Errorf("the stream begins with %+v", st.seen[0])
	}
	for i, f := range st.seen[1:] {
		switch {
		case f.Name != string(f.Type):
			t.Errorf("event: %s carries %s", f.Name, f.Raw)
		case f.Seq == 0 && f.ID != "":
			t.Errorf("a control frame has the id %s: %s", f.ID, f.Raw)
		case f.Seq != 0 && f.ID != fmt.Sprintf("%s-%d", s.Session.Epoch, f.Seq):
			t.Errorf("event %d has the id %q", f.Seq, f.ID)
		}
		if i == 0 {
			if f.Type != "connected" {
				t.Errorf("the first frame is %s", f.Raw)
			}
			has(t, "connected", f.Data, "sessionId epoch firstSeq lastSeq status node heartbeatSeconds")
			if c := hubtest.Decode[protocol.Connected](t, f.Data); c.SessionID != s.SessionID || c.Epoch != s.Session.Epoch || c.FirstSeq != 1 || c.HeartbeatSeconds != 15 {
				t.Errorf("connected is %+v", c)
			}
		}
	}
	if !strings.Contains(st.types(), "caught_up") {
		t.Errorf("no caught_up: %s", st.types())
	}
	paged := s.sse("", "Authorization", "Bearer "+s.Token, "Origin", "https://page.example")
	if got := paged.head.Get("Access-Control-Allow-Origin"); got != "https://page.example" {
		t.Errorf("an allowed page gets the origin %q", got)
	}
}

// Where a stream starts.
func TestCursors(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	s.turn(st, "hello")
	judge.Within(t, 5e9, "it is idle", func() bool { return s.view().Status == "idle" })
	v := s.view()
	last, epoch := v.LastSeq, v.Epoch
	at := func(seq uint64) string { return fmt.Sprintf("%s-%d", epoch, seq) }
	for name, c := range map[string]struct {
		query, lastEventID string
		first              uint64 // of the replay; 0: none
		gap                *protocol.Gap
	}{
		"nothing":                  {first: 1},
		"0":                        {query: "?after=0", first: 1},
		"latest":                   {query: "?after=latest"},
		"a bare seq":               {query: "?after=3", first: 4},
		"a cursor":                 {query: "?after=" + at(3), first: 4},
		"the end":                  {query: "?after=" + at(last)},
		"Last-Event-ID wins":       {query: "?after=" + at(1), lastEventID: at(5), first: 6},
		"beyond the epoch's range": {query: "?after=" + at(last+7), gap: &protocol.Gap{Epoch: epoch, FromSeq: last + 1, ToSeq: last + 7, Reason: "epoch_changed"}},
		"an unknown epoch":         {query: "?after=other-3", first: 1, gap: &protocol.Gap{Epoch: epoch, FromSeq: 1, ToSeq: 3, Reason: "epoch_changed"}},
	} {
		var header []string
		if c.lastEventID != "" {
			header = []string{"Last-Event-ID", c.lastEventID}
		}
		streams := map[string]*stream{"SSE": s.sse(c.query, header...)}
		if c.lastEventID == "" {
			streams["WebSocket"] = s.ws(c.query)
		}
		for transport, st := range streams {
			caught := hubtest.Decode[protocol.CaughtUp](t, st.until("caught_up").Data)
			replay := logged(st)
			if caught.Seq != last || (c.first == 0) != (len(replay) == 0) || len(replay) > 0 && (replay[0].Seq != c.first || replay[len(replay)-1].Seq != last) {
				t.Errorf("%s by %s: caught up at %d of %d after %s", name, transport, caught.Seq, last, st.types())
			}
			i := slices.IndexFunc(st.seen, func(f hubtest.Frame) bool { return f.Type == "gap" })
			if (i >= 0) != (c.gap != nil) || c.gap != nil && hubtest.Decode[protocol.Gap](t, st.seen[i].Data) != *c.gap {
				t.Errorf("%s by %s: gap %v in %s", name, transport, c.gap, st.types())
			}
			st.close()
		}
	}
	for _, bad := range []string{"x", "-1", "1-", "a-b-c", "1.5", at(1) + "x", fmt.Sprint(last + 1), "99999999999999999999999"} {
		n.refused(400, protocol.CodeInvalidRequest, "GET", s.path+"/events?after="+bad, "", s.bearer()...)
		n.refused(400, protocol.CodeInvalidRequest, "GET", s.path+"/history?after="+bad, "", s.bearer()...)
		n.refused(400, protocol.CodeInvalidRequest, "GET", s.path+"/events", "", append(s.bearer(), "Last-Event-ID", bad)...)
		if _, resp, err := s.socket("?after="+bad, nil); err == nil || resp == nil || resp.StatusCode != 400 {
			t.Errorf("a WebSocket from %q: %v", bad, err)
		}
	}
}

func (st *stream) close() {
	if st.ws != nil {
		_ = st.ws.CloseNow()
	}
}

// A piece of output over --max-event-bytes is split; nothing of it is lost.
func TestLongOutputIsSplit(t *testing.T) {
	n := serve(t, "--max-event-bytes", "2KiB")
	s := n.create(`{}`)
	st := s.ws("")
	s.turn(st, "/stream 3 10000")
	for _, f := range logged(st) {
		if len(f.Data) > 2<<10 {
			t.Errorf("%s has %d bytes", f.Type, len(f.Data))
		}
	}
	if got := st.text("text"); len(got) != 30000 || !strings.HasPrefix(got, "1 xxx") || !strings.Contains(got, "\n3 xxx") {
		t.Errorf("the text has %d bytes", len(got))
	}
}

// A turn survives its clients.
func TestTurnSurvivesItsClients(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	s.send("/stream 30 20 30")
	st.until("output")
	seq := st.last().Seq
	st.close()
	judge.Within(t, 5e9, "nobody listens", func() bool { return s.view().Connections.WebSocket == 0 })
	judge.Within(t, 20e9, "the turn ends", func() bool { return s.view().Status == "idle" })
	again := s.sse(fmt.Sprintf("?after=%s-%d", s.Session.Epoch, seq))
	again.until("complete")
	if got := strings.Count(again.types(), "output"); got != 30-int(hubtest.Decode[protocol.OutputData](t, st.last().Data).Text[0]-'0') {
		t.Errorf("%d pieces came after the first", got)
	}
}

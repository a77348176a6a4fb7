package hub_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/fleet"
	"sessionhub/protocol"
)

// logWords writes a log in short.
func (w *world) logWords(id string) string {
	w.t.Helper()
	var out []string
	for _, e := range w.log(id) {
		var d struct{ Status, StopReason, Outcome, Reason, MessageID string }
		if err := json.Unmarshal(e.Data, &d); err != nil {
			w.t.Fatal(err)
		}
		word := string(e.Type)
		if e.Type == protocol.EventStatus {
			word = ""
		}
		out = append(out, strings.TrimLeft(word+"."+d.Status+d.StopReason+d.Outcome+d.Reason, "."))
	}
	return strings.ReplaceAll(strings.Join(out, " "), ". ", " ")
}

func TestTurnOverTheLink(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		p.want("welcome")
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		w.say(id, "m2")
		p.want("assign(1 after 0 resume=false) message(1 m1)")
		p.output(id, 1, 1)
		p.want("ack(1)")
		p.output(id, 1, 1) // a repeat is acknowledged and dropped
		p.want("ack(1)")
		p.ask(id, 1, 2, "i1")
		p.want("ack(2)")
		if s := w.status(id); s != protocol.StatusRequiresAction {
			t.Errorf("status %s", s)
		}
		if r, err := w.hub.Approve(w.ctx, id, "u1", protocol.ApproveRequest{InteractionID: "i1", OptionID: "y", Reason: "ok"}); err != nil || r.OptionID != "y" {
			t.Errorf("approve: %+v, %v", r, err)
		}
		p.want("approval(3 m1 i1 selected y ok)")
		p.complete(id, 1, 3, "m1")
		p.complete(id, 1, 4, "m1") // a second one is acknowledged and not logged
		p.want("ack(4)")
		p.finish(id, 1, 1)
		p.want("message(2 m2)")
		if err := w.hub.Cancel(w.ctx, id, protocol.CancelRequest{}); err != nil {
			t.Error(err)
		}
		p.want("cancel(4 m2)")
		p.event(id, 1, 5, protocol.EventComplete, protocol.CompleteData{MessageID: "m2", StopReason: protocol.StopCancelled})
		p.finish(id, 1, 2)
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
		p.want("ack(5)")
		w.say(id, "m3")
		p.want("assign(2 after 2 resume=true) message(5 m3)")
		want := "idle message queued starting message running output tool_approval requires_action approval_resolved.selected running " +
			"complete.end_turn queued running complete.cancelled idle message queued starting"
		if got := w.logWords(id); got != want {
			t.Errorf("the log is %s\nwant %s", got, want)
		}
	})
}

func TestHoleClosesTheLink(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		p.script()
		p.output(id, 1, 3)
		p.want("error(hole)")
		if !p.ended() {
			t.Error("the link is still open")
		}
		if n := w.load(id).N; n != 1 {
			t.Errorf("%d events are stored", n)
		}
	})
}

func TestForbiddenIsAcknowledgedAndNotStored(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.script()
		last := w.load(id).Last
		n := uint64(0)
		starting := protocol.StatusData{Status: protocol.StatusStarting}
		for _, c := range []struct {
			t    protocol.EventType
			data any
			code string
		}{
			{protocol.EventMessage, protocol.MessageData{MessageID: "x", Content: json.RawMessage(`"x"`)}, "forbidden"},
			{protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: "i"}, "forbidden"},
			{protocol.EventClosed, protocol.ClosedData{Reason: "deleted"}, "forbidden"},
			{"shutdown", protocol.Empty{}, "forbidden"},
			{protocol.EventStatus, protocol.StatusData{Status: protocol.StatusIdle, MessageID: "m1"}, "forbidden"},
			{protocol.EventStatus, protocol.StatusData{Status: protocol.StatusRunning, MessageID: "m1"}, "forbidden"},
			{protocol.EventStatus, protocol.StatusData{Status: protocol.StatusRequiresAction}, "forbidden"},
			{protocol.EventStatus, protocol.StatusData{Status: protocol.StatusEnded}, "forbidden"},
			{protocol.EventStatus, protocol.WorkerStatusData{StatusData: starting, AgentSession: strings.Repeat("a", 257)}, "invalid"},
			{protocol.EventStatus, protocol.WorkerStatusData{StatusData: starting, AgentSession: "a\n"}, "invalid"},
			{protocol.EventStatus, protocol.WorkerStatusData{StatusData: starting, AgentSession: "a", GitBase: "--output=x"}, "invalid"},
			{protocol.EventOutput, "no object", "invalid"},
			{protocol.EventComplete, protocol.CompleteData{MessageID: "m1", StopReason: "bored"}, "invalid"},
			{protocol.EventToolApproval, protocol.ToolApprovalData{Input: json.RawMessage("{}"), Options: []protocol.ApprovalOption{{OptionID: "y"}}}, "invalid"},
			{protocol.EventToolApproval, protocol.ToolApprovalData{InteractionID: "i", Input: json.RawMessage("{}")}, "invalid"},
			{protocol.EventPlan, protocol.PlanData{MessageID: strings.Repeat("x", 1<<20)}, "invalid"},
		} {
			n++
			p.event(id, 1, n, c.t, c.data)
			if got := p.script(); !strings.Contains(got, "error("+c.code) || !strings.Contains(got, "ack(") {
				t.Errorf("%s: %s", c.t, got)
			}
		}
		// It counts: the next one is no hole.
		if s := w.load(id); s.N != n || s.State.Status.Status == protocol.StatusIdle {
			t.Errorf("%d of %d events count, status %s", s.N, n, s.State.Status.Status)
		}
		for _, e := range w.log(id)[last:] {
			if e.Type != protocol.EventStatus {
				t.Errorf("%s was stored", e.Type)
			}
		}
		p.output(id, 1, n+1)
		p.script()
		if p.ended() {
			t.Error("the link was closed")
		}
	})
}

func TestGarbageFrames(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		p.want("welcome")
		for _, f := range []string{"", "{", "[]", `"x"`, `{"type":"dance"}`, `{"type":"event","data":5}`, `{"type":"done","data":[]}`, `{"type":"event"}`, "\xff",
			`{"type":"done","data":{"assignment":1}}`, `{"type":"release","data":{"sessionId":"a\n"}}`,
			`{"type":"event","data":{"sessionId":"` + strings.Repeat("s", 257) + `","assignment":1,"n":1,"type":"output","data":{}}}`} {
			p.raw([]byte(f))
			if got := p.script(); got != "error(invalid)" {
				t.Errorf("%q: %q", f, got)
			}
		}
		if p.ended() {
			t.Error("the link was closed")
		}
	})
}

func TestHelloIsChecked(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		long := strings.Repeat("x", 5000)
		for name, h := range map[string]protocol.Hello{
			"no worker": {Workspace: "ws"}, "no workspace": {Worker: "w"}, "a long worker": {Worker: long, Workspace: "ws"},
			"a long workspace": {Worker: "w", Workspace: long},
		} {
			if p := w.join(h); !p.ended() {
				t.Errorf("%s: let in", name)
			}
		}
		mine, theirs := newPipe()
		w.wg.Go(func() { _ = w.hub.ServeWorker(w.ctx, theirs, fleet.WorkerKey{}) })
		_ = mine.WriteFrame(w.ctx, protocol.NewFrame(protocol.FramePong, protocol.Empty{}))
		if why, err := mine.ReadFrame(w.ctx); err != nil || !strings.Contains(string(why), `"invalid"`) {
			t.Errorf("a first frame that is no hello: %s, %v", why, err)
		}
		synctest.Wait()
		select {
		case <-mine.closed:
		default:
			t.Error("a first frame that is no hello: let in")
		}
	})
}

func TestStaleOrForeignIsRevoked(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p, q := w.join(hello("w1")), w.join(protocol.Hello{Worker: "w2", Workspace: "other", Capacity: 1, Providers: []string{"x"}})
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.script()
		q.script()
		last := w.load(id).Last
		q.output(id, 1, 1) // another worker's
		q.want("revoke(1)")
		q.finish(id, 1, 1)
		q.want("revoke(1)")
		q.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Retry: false})
		q.want("revoke(1)")
		p.output(id, 7, 1) // never given
		p.want("revoke(7)")
		p.output("s_none", 1, 1)
		p.want("revoke(1)")
		if w.load(id).Last != last {
			t.Error("something was stored")
		}
		// Given back and given again: what comes from before is stale.
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: "x", Retry: true})
		w.say(id, "m2")
		p.want("assign(2 after 1 resume=true) message(2 m2)")
		p.output(id, 1, 1)
		p.want("revoke(1)")
		p.output(id, 2, 1)
		p.want("ack(1)")
	})
}

// What an agent still says behind the end is not logged: closed is the last
// event. The worker hears what it expects until it lets go.
func TestNothingIsLoggedBehindClosed(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		s := w.open(id, "", protocol.WebSocket)
		w.say(id, "m1")
		synctest.Wait()
		p.output(id, 1, 1)
		p.script()
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		p.output(id, 1, 2)
		p.complete(id, 1, 3, "m1")
		p.finish(id, 1, 1)
		if got := p.script(); strings.Contains(got, "revoke") || !strings.Contains(got, "close(2 deleted)") || !strings.HasSuffix(got, "ack(3)") {
			t.Errorf("the worker was told %q", got)
		}
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseClosed, Retry: true})
		p.want("")
		frames := s.got()
		if last := frames[len(frames)-1]; last.kind() != "closed" || s.end() != protocol.CloseEnded {
			t.Errorf("the stream ends with %s and %d", last.raw, s.end())
		}
		if snap := w.load(id); snap.State.Worker != "" {
			t.Errorf("the worker still has it")
		}
	})
}

func TestCapacity(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		h := hello("w1")
		h.Capacity = 2
		p := w.join(h)
		var ids []string
		for range 4 {
			id := w.create()
			w.say(id, "m1")
			ids = append(ids, id)
		}
		if got := p.script(); strings.Count(got, "assign") != 2 {
			t.Errorf("two places: %s", got)
		}
		// The oldest first.
		if w.status(ids[0]) != protocol.StatusStarting || w.status(ids[1]) != protocol.StatusStarting || w.status(ids[2]) != protocol.StatusQueued {
			t.Errorf("status %s %s %s", w.status(ids[0]), w.status(ids[1]), w.status(ids[2]))
		}
		p.send(protocol.FrameRelease, protocol.Release{SessionID: ids[0], Assignment: 1, Reason: "x", Retry: true})
		p.want("assign(1 after 0 resume=false) message(1 m1)")
		// A close that the worker does not answer frees its place after 5 s, and
		// the session is not the worker's any more.
		if err := w.hub.Delete(w.ctx, ids[1]); err != nil {
			t.Fatal(err)
		}
		at(4 * time.Second)
		p.want("close(2 deleted)")
		at(2 * time.Second)
		p.want("revoke(1) assign(1 after 0 resume=false) message(1 m1)")
	})
}

func TestFailedByItsWorker(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		a, b := w.create(), w.create()
		w.say(a, "m1")
		w.say(b, "m1")
		synctest.Wait()
		p.event(a, 1, 1, protocol.EventStatus, protocol.StatusData{Status: protocol.StatusFailed, Detail: "no such mode"})
		p.send(protocol.FrameRelease, protocol.Release{SessionID: b, Assignment: 1, Reason: protocol.ReleaseWorkingDirectory})
		synctest.Wait()
		for id, detail := range map[string]string{a: "no such mode", b: protocol.ReleaseWorkingDirectory} {
			snap, err := w.hub.Load(w.ctx, id)
			if err != nil || snap.State.Status != (protocol.StatusData{Status: protocol.StatusFailed, Detail: detail}) || snap.State.Closed != protocol.ClosedFailed {
				t.Errorf("%+v, %v", snap.State.Status, err)
			}
			if n, c := w.completes(id, "m1"); n != 1 || c.Error == nil || c.Error.Code != protocol.TurnSessionFailed {
				t.Errorf("%d completes, the last %+v", n, c)
			}
		}
	})
}

// A text that is too long for one event becomes several, which count as the one
// that the worker sent.
func TestLongOutputOverTheLink(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.script()
		text := strings.Repeat("a long text € ", 1000)
		p.event(id, 1, 1, protocol.EventOutput, protocol.OutputData{MessageID: "m1", Text: text, Kind: "text"})
		p.output(id, 1, 2)
		p.want("ack(2)")
		var got strings.Builder
		pieces := 0
		for _, e := range w.log(id) {
			if e.Type != protocol.EventOutput {
				continue
			}
			var d protocol.OutputData
			if err := protocol.Decode(e.Data, &d); err != nil || len(e.Data) > 1024 {
				t.Errorf("%d bytes, %v", len(e.Data), err)
			}
			got.WriteString(d.Text)
			pieces++
		}
		if got.String() != text+"1/2" || pieces < 10 {
			t.Errorf("%d pieces, %d bytes of %d", pieces, got.Len(), len(text))
		}
	}, func(c *hub.Config) { c.MaxEventBytes = 1024 })
}

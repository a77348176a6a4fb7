package contracttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// post sends a message under an id of its own, and gives the answer.
func (s session) post(id, content, delivery string) protocol.MessageResponse {
	s.n.t.Helper()
	body := protocol.Marshal(protocol.MessageRequest{MessageID: id, Content: protocol.Marshal(content), Delivery: delivery})
	return ok[protocol.MessageResponse](s.n, http.StatusAccepted, "POST", s.path+"/messages", string(body), s.bearer()...)
}

// change changes the queue, and gives it in short.
func (s session) change(r protocol.QueueRequest) string {
	s.n.t.Helper()
	return inShort(ok[protocol.Queue](s.n, http.StatusOK, "POST", s.path+"/queue", string(protocol.Marshal(r)), s.bearer()...))
}

func (s session) queue() string {
	s.n.t.Helper()
	return inShort(ok[protocol.Queue](s.n, http.StatusOK, "GET", s.path+"/queue", "", s.bearer()...))
}

// inShort is a queue in a line: a star marks what is held.
func inShort(q protocol.Queue) string {
	var words []string
	for _, m := range q.Messages {
		star := ""
		if m.Held {
			star = "*"
		}
		words = append(words, star+m.MessageID+"="+strings.Trim(string(m.Content), `"`))
	}
	return strings.Join(words, " ")
}

func (s session) stop(id string, hold bool) {
	s.n.t.Helper()
	body := protocol.Marshal(protocol.CancelRequest{MessageID: id, Hold: hold})
	ok[any](s.n, http.StatusAccepted, "POST", s.path+"/cancel", string(body), s.bearer()...)
}

// works starts a turn that goes on until it is stopped.
func (s session) works(id string) {
	s.n.t.Helper()
	s.post(id, "/slow 600", "")
	s.logged("Working for", 30*time.Second)
}

// logged waits until an event of the log has these words.
func (s session) logged(words string, most time.Duration) {
	s.n.t.Helper()
	judge.Within(s.n.t, most, "the words "+words, func() bool {
		return slices.ContainsFunc(s.history(), func(raw json.RawMessage) bool { return strings.Contains(string(raw), words) })
	})
}

// said are the texts that the agent was told, in the order in which it answered them.
func (s session) said() (texts []string) {
	s.n.t.Helper()
	answers := make(map[string]string)
	var order []string
	for _, raw := range s.history() {
		e := hubtest.Decode[protocol.Event](s.n.t, raw)
		if d := hubtest.Decode[protocol.OutputData](s.n.t, e.Data); e.Type == protocol.EventOutput {
			if answers[d.MessageID] == "" {
				order = append(order, d.MessageID)
			}
			answers[d.MessageID] += d.Text
		}
	}
	for _, id := range order {
		if m := regexp.MustCompile(`You said: (.*)\n`).FindStringSubmatch(answers[id]); m != nil {
			texts = append(texts, m[1])
		}
	}
	return texts
}

// What people do to messages that wait is what the agent gets: each once, in the order and
// with the text that they were told last.
func TestQueue(t *testing.T) {
	n := serve(t)
	s := n.create("{}")
	s.works("m1")
	for _, id := range []string{"m2", "m3", "m4", "m5"} {
		if a := s.post(id, id, ""); a.Delivery != "" {
			t.Errorf("answer %+v", a)
		}
	}
	if got := s.change(protocol.QueueRequest{Action: protocol.QueueOrder, MessageIDs: []string{"m5", "m3"}}); got != "m5=m5 m3=m3 m2=m2 m4=m4" {
		t.Errorf("ordered: %s", got)
	}
	st := s.ws("")
	a := st.command("queue", "q1", `{"action":"edit","messageId":"m2","content":"better"}`)
	if a.Type != "ack" || inShort(hubtest.Decode[protocol.Queue](t, a.Data)) != "m5=m5 m3=m3 m2=better m4=m4" {
		t.Errorf("edited: %+v", a)
	}
	s.change(protocol.QueueRequest{Action: protocol.QueueRemove, MessageID: "m4"})
	// The sender's repeat of what was edited is a repeat all the same.
	if a := s.post("m2", "m2", ""); !a.Duplicate {
		t.Errorf("a repeat: %+v", a)
	}
	for _, c := range []struct {
		status int
		code   protocol.Code
		body   string
	}{
		{409, protocol.CodeMessageRunning, `{"action":"edit","messageId":"m1","content":"x"}`},
		{409, protocol.CodeMessageRunning, `{"action":"remove","messageId":"m4"}`},
		{409, protocol.CodeMessageRunning, `{"action":"order","messageIds":["m5","m1"]}`},
		{404, protocol.CodeNotFound, `{"action":"send_now","messageId":"none"}`},
		{400, protocol.CodeInvalidRequest, `{"action":"edit","messageId":"m2","content":""}`},
		{400, protocol.CodeInvalidRequest, `{"action":"order","messageIds":["m5","m5"]}`},
		{400, protocol.CodeInvalidRequest, `{"action":"order"}`},
		{400, protocol.CodeInvalidRequest, `{"action":"sort"}`},
		{400, protocol.CodeInvalidRequest, `{"action":"remove"}`},
	} {
		n.refused(c.status, c.code, "POST", s.path+"/queue", c.body, s.bearer()...)
	}
	reader := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read"}`, s.bearer()...)
	n.refused(403, protocol.CodeScope, "POST", s.path+"/queue", `{"action":"hold"}`, "Authorization", "Bearer "+reader.Token)
	ok[protocol.Queue](n, 200, "GET", s.path+"/queue", "", "Authorization", "Bearer "+reader.Token)

	s.stop("m1", true)
	if c := s.ends(n, 20*time.Second, "m1"); c.StopReason != protocol.StopCancelled {
		t.Errorf("m1 ended with %+v", c)
	}
	judge.Within(t, 10*time.Second, "rest", func() bool { return s.view().Status == protocol.StatusIdle })
	if got := s.queue(); got != "*m5=m5 *m3=m3 *m2=better" {
		t.Errorf("held: %s", got)
	}
	s.post("m6", "m6", "")
	s.ends(n, 20*time.Second, "m6")
	if got := s.change(protocol.QueueRequest{Action: protocol.QueueSendNow, MessageID: "m3"}); got != "m3=m3 *m5=m5 *m2=better" && got != "*m5=m5 *m2=better" {
		t.Errorf("sent now: %s", got)
	}
	s.ends(n, 20*time.Second, "m3")
	s.change(protocol.QueueRequest{Action: protocol.QueueRelease})
	s.ends(n, 20*time.Second, "m2")
	if got := s.said(); !slices.Equal(got, []string{"m6", "m3", "m5", "better"}) {
		t.Errorf("the agent was told %q", got)
	}
	if got := s.queue(); got != "" {
		t.Errorf("it waits: %s", got)
	}
	// A client of before sends no hold: the next message runs.
	s.works("m7")
	s.post("m8", "m8", "")
	s.stop("m7", false)
	if c := s.ends(n, 20*time.Second, "m8"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("m8 ended with %+v", c)
	}
}

// An edit that crosses the hand of its message: either the agent gets the new text, or the
// editor is told that it was too late.
func TestEditThatCrossesTheHand(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create("{}")
	late := 0
	for i := range 40 {
		first, second := fmt.Sprint("a", i), fmt.Sprint("b", i)
		s.post(first, "hi", "")
		s.post(second, "old", "")
		var edited hubtest.Answer
		var wg sync.WaitGroup
		wg.Go(func() {
			s.ends(n, 30*time.Second, first)
		})
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 4 * time.Millisecond)
			edited = n.call("POST", s.path+"/queue", `{"action":"edit","messageId":"`+second+`","content":"new"}`, s.bearer()...)
		})
		wg.Wait()
		s.ends(n, 30*time.Second, second)
		texts := s.said()
		want := "new"
		if edited.StatusCode != http.StatusOK {
			if err := edited.Problem(http.StatusConflict, protocol.CodeMessageRunning); err != nil {
				t.Fatal(err)
			}
			late++
			want = "old"
		}
		if got := texts[len(texts)-1]; got != want || len(texts) != 2*(i+1) {
			t.Fatalf("the editor got %d, the agent %q (%d texts)", edited.StatusCode, got, len(texts))
		}
	}
	t.Logf("%d of 40 edits came too late", late)
}

// A steered turn ends with what it has taken in, and each message has one end.
func TestSteering(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create("{}")
	if a := s.post("m1", "/slow 600", protocol.DeliverSteer); a.Delivery != protocol.DeliverQueue {
		t.Errorf("there is nothing to steer: %+v", a)
	}
	s.logged("Working for", 30*time.Second)
	s.post("m2", "later", "")
	if a := s.post("s1", "left", protocol.DeliverSteer); a.Delivery != protocol.DeliverSteer {
		t.Errorf("answer %+v", a)
	}
	s.logged("You steered me: left", 20*time.Second)
	if got := s.queue(); got != "m2=later" {
		t.Errorf("it waits: %s", got)
	}
	n.refused(409, protocol.CodeMessageRunning, "POST", s.path+"/queue", `{"action":"edit","messageId":"s1","content":"x"}`, s.bearer()...)
	if a := s.post("n1", "now", protocol.DeliverNow); a.Delivery != protocol.DeliverNow {
		t.Errorf("answer %+v", a)
	}
	for _, id := range []string{"m1", "s1"} {
		if c := s.ends(n, 20*time.Second, id); c.StopReason != protocol.StopCancelled {
			t.Errorf("%s ended with %+v", id, c)
		}
	}
	s.ends(n, 20*time.Second, "m2")
	if got := s.said(); !slices.Equal(got, []string{"now", "later"}) {
		t.Errorf("the agent was told %q", got)
	}
	s.oneEnd("m1", "s1", "n1", "m2")
}

// oneEnd fails for each message that has not exactly one complete.
func (s session) oneEnd(ids ...string) {
	s.n.t.Helper()
	ends := make(map[string]int)
	for _, raw := range s.history() {
		if e := hubtest.Decode[protocol.Event](s.n.t, raw); e.Type == protocol.EventComplete {
			ends[hubtest.Decode[protocol.CompleteData](s.n.t, e.Data).MessageID]++
		}
	}
	for _, id := range ids {
		if ends[id] != 1 {
			s.n.t.Errorf("%s has %d ends", id, ends[id])
		}
	}
}

// A refusal with a reason: the agent takes none, so the reason is the next message.
func TestReasonIsTheNextMessage(t *testing.T) {
	n := serve(t)
	s := n.create("{}")
	st := s.ws("")
	s.send("/approve the plan")
	q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
	s.post("m2", "later", "")
	approver := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read approve"}`, s.bearer()...)
	body := func(reason string) string {
		return `{"interactionId":"` + q.InteractionID + `","decision":"reject_once","reason":"` + reason + `","reasonAsMessage":true}`
	}
	n.refused(403, protocol.CodeScope, "POST", s.path+"/approve", body("no"), "Authorization", "Bearer "+approver.Token)
	n.refused(400, protocol.CodeInvalidRequest, "POST", s.path+"/approve", body(" "), s.bearer()...)
	a := ok[protocol.ApproveResponse](n, 200, "POST", s.path+"/approve", body("use tabs"), s.bearer()...)
	if a.MessageID == "" {
		t.Errorf("answer %+v", a)
	}
	s.ends(n, 20*time.Second, "m2")
	if got := s.said(); !slices.Equal(got, []string{"use tabs", "later"}) {
		t.Errorf("the agent was told %q", got)
	}
}

// kill -9 of the node: what waits is there at the next start, in its order, with its texts,
// and what was held is held.
func TestQueueOutlivesTheNode(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), t.TempDir()
	flags := []string{"--data-dir", dir, "--workspace-root", root}
	n := serve(t, flags...)
	s := n.create("{}")
	s.works("m1")
	for _, id := range []string{"m2", "m3", "m4"} {
		s.post(id, id, "")
	}
	s.post("s1", "left", protocol.DeliverSteer)
	s.logged("You steered me: left", 20*time.Second)
	s.change(protocol.QueueRequest{Action: protocol.QueueOrder, MessageIDs: []string{"m4", "m2"}})
	s.change(protocol.QueueRequest{Action: protocol.QueueEdit, MessageID: "m2", Content: protocol.Marshal("better")})
	s.change(protocol.QueueRequest{Action: protocol.QueueHold})
	n.kill()

	again := serve(t, flags...)
	s = s.on(again)
	for _, id := range []string{"m1", "s1"} {
		if c := s.ends(again, 40*time.Second, id); c.StopReason != protocol.StopError || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%s ended with %+v", id, c)
		}
	}
	if got := s.queue(); got != "*m4=m4 *m2=better *m3=m3" {
		t.Errorf("it waits: %s", got)
	}
	s.change(protocol.QueueRequest{Action: protocol.QueueRelease})
	s.ends(again, 30*time.Second, "m3")
	if got := s.said(); !slices.Equal(got, []string{"m4", "better", "m3"}) {
		t.Errorf("the agent was told %q", got)
	}
	s.oneEnd("m1", "m2", "m3", "m4", "s1")
}

// What was held at the kill -9 of the node runs when people release it, at once or later: no
// worker has received it. It ended with worker_lost when the lease of the last worker did.
func TestReleaseBehindAKill(t *testing.T) {
	t.Parallel()
	for name, release := range map[string]protocol.QueueRequest{
		"release": {Action: protocol.QueueRelease}, "send now": {Action: protocol.QueueSendNow, MessageID: "m2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flags := []string{"--data-dir", t.TempDir(), "--workspace-root", t.TempDir(), "--worker-lease", "3s"}
			n := serve(t, flags...)
			s := n.create("{}")
			s.works("m1")
			s.post("m2", "held", "")
			s.stop("m1", true)
			s.ends(n, 20*time.Second, "m1")
			n.kill()

			again := serve(t, flags...)
			s = s.on(again)
			if got := s.change(release); got != "m2=held" {
				t.Errorf("it waits: %s", got)
			}
			if c := s.ends(again, 40*time.Second, "m2"); c.StopReason != protocol.StopEndTurn {
				t.Errorf("m2 ended with %+v", c)
			}
			s.oneEnd("m1", "m2")
		})
	}
}

// An agent that takes messages in, and answers without saying what became of one: people
// learn that, in words.
func TestSteeringWithoutAnOutcome(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.create(scriptedSession)
	s.post("m1", "stream 600 50", "")
	s.logged(`"n0`, 30*time.Second)
	s.post("s1", "echo", protocol.DeliverSteer)
	s.logged(`"steered"`, 20*time.Second)
	s.stop("m1", false)
	s.ends(n, 20*time.Second, "s1")
	if got := told[protocol.SteeredData](s, protocol.EventSteered); len(got) != 1 || got[0].Outcome != protocol.SteerQueued ||
		got[0].Detail != "the agent's answer to _session/steering has no outcome" {
		t.Errorf("steered: %+v", got)
	}
}

// kill -9 of an agent in a steered turn: what it had taken in ends with the turn, and the
// rest runs.
func TestQueueOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{"agentOptions":{"mode":"auto"}}`)
	st := s.ws("")
	s.turn(st, "/run echo pid=$PPID")
	pid := regexp.MustCompile(`pid=(\d+)\\n`).FindStringSubmatch(fmt.Sprint(st.seen))
	if pid == nil {
		t.Fatalf("no pid: %v", st.seen)
	}
	s.works("m1")
	s.post("m2", "later", "")
	s.post("s1", "left", protocol.DeliverSteer)
	s.logged("You steered me: left", 20*time.Second)
	agent, err := strconv.Atoi(pid[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"m1", "s1"} {
		if c := s.ends(n, 20*time.Second, id); c.StopReason != protocol.StopError || c.Error.Code != protocol.TurnAgentCrashed {
			t.Errorf("%s ended with %+v", id, c)
		}
	}
	if c := s.ends(n, 20*time.Second, "m2"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("m2 ended with %+v", c)
	}
	s.oneEnd("m1", "s1", "m2")
}

// Two nodes, and the worker of one of them is killed in a steered turn: the queue is one,
// and what waits runs elsewhere.
func TestQueueOnTwoNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32), "SESSIONHUB_WORKER_KEY=" + workerKey}
	flags := []string{"--valkey-url", server.URL(), "--worker", "none", "--worker-lease", "6s"}
	a, b := serveEnv(t, env, flags...), serveEnv(t, env, flags...)
	root, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	first := a.worker(t, "first", root)
	s := b.create("{}")
	s.works("m1")
	s.post("m2", "m2", "")
	s.on(a).post("m3", "m3", "")
	s.on(a).change(protocol.QueueRequest{Action: protocol.QueueOrder, MessageIDs: []string{"m3"}})
	if got := s.change(protocol.QueueRequest{Action: protocol.QueueEdit, MessageID: "m2", Content: protocol.Marshal("better")}); got != "m3=m3 m2=better" {
		t.Errorf("the queue: %s", got)
	}
	s.post("s1", "left", protocol.DeliverSteer)
	s.logged("You steered me: left", 20*time.Second)
	first.signal(t, syscall.SIGKILL)
	for _, id := range []string{"m1", "s1"} {
		if c := s.ends(b, 40*time.Second, id); c.StopReason != protocol.StopError || c.Error.Code != protocol.TurnWorkerLost {
			t.Errorf("%s ended with %+v", id, c)
		}
	}
	if got := s.on(a).queue(); got != "m3=m3 m2=better" {
		t.Errorf("it waits: %s", got)
	}
	b.worker(t, "second", root)
	s.ends(b, 40*time.Second, "m2")
	if got := s.said(); !slices.Equal(got, []string{"m3", "better"}) {
		t.Errorf("the agent was told %q", got)
	}
	s.oneEnd("m1", "m2", "m3", "s1")
}

package worker

import (
	"encoding/json"
	"slices"
	"time"

	"sessionhub/protocol"
)

// steeringMethod gives a message to the turn that runs. Agents announce it with
// _meta.steering.supported in the answer to initialize.
const steeringMethod = "_session/steering"

// steerGrace is how long an agent may take to say whether it has taken a message in, after
// it has answered the prompt. Then it is stopped: nobody could tell whether the message had
// effects.
const steerGrace = 10 * time.Second

// extensions are what an agent announces beside ACP, in the _meta of its answer to
// initialize. The second is our own: the agent reads the reason of an answer to its
// question, under reasonKey in the _meta of that answer.
type extensions struct {
	Meta struct {
		Steering supported `json:"steering"`
		Reason   supported `json:"sessionhub/reason"` // reasonKey
	} `json:"_meta"`
}

type supported struct {
	Supported bool `json:"supported"`
}

// readExtensions reads the answer to initialize. A part that cannot be read is not
// announced.
func readExtensions(answer json.RawMessage) (steering, reasons bool) {
	var e extensions
	if json.Unmarshal(answer, &e) != nil {
		return false, false
	}
	return e.Meta.Steering.Supported, e.Meta.Reason.Supported
}

// promptAnswer is the agent's answer to the prompt of a turn.
type promptAnswer struct {
	result json.RawMessage
	err    error
}

// onSteer gives a message to the agent in the middle of its turn. The hub hears what
// became of it, once.
func (s *session) onSteer(c protocol.SteerCommand) {
	t := s.turn
	refused := func(detail string) { s.publishSteered(t, c.MessageID, protocol.SteerQueued, detail) }
	content, lacking, lost := c.Content, "", ""
	if s.agent != nil {
		if content, lost = s.resolve(c.Content, s.agent.takes); lost == "" {
			lacking = s.agent.takes.lacking(content)
		}
	}
	blocks, ok := promptBlocks(content)
	switch {
	case s.agent == nil || s.agent.stopped || !t.prompted:
		refused("the agent did not work on the turn")
		return
	case !s.agent.started.Steering:
		refused("the agent takes no messages in while it works")
		return
	case t.cancelled || t.answered != nil:
		refused("the turn was ending")
		return
	case lost != "":
		refused(lost)
		return
	case !ok || mislabelled(content) != "":
		refused("the message cannot be read")
		return
	case lacking != "":
		refused("the agent takes no " + lacking + " in a message")
		return
	}
	t.steers = append(t.steers, c.MessageID)
	s.call(steeringMethod, map[string]any{
		"sessionId": s.agent.sessionID, "prompt": blocks,
		"_meta": map[string]any{"steering": map[string]string{"idleBehavior": "promptRequired"}},
	}, func(result json.RawMessage, err error) {
		if s.turn == t {
			s.steered(c.MessageID, result, err)
		}
	})
}

// steered handles the agent's answer about a message.
func (s *session) steered(messageID string, result json.RawMessage, err error) {
	t := s.turn
	i := slices.Index(t.steers, messageID)
	if i < 0 {
		return
	}
	t.steers = slices.Delete(t.steers, i, i+1)
	var answer struct {
		Outcome string `json:"outcome"`
	}
	unread := err == nil && json.Unmarshal(result, &answer) != nil
	switch {
	case err != nil:
		s.publishSteered(t, messageID, protocol.SteerQueued, s.describe(err))
	case unread, answer.Outcome == "":
		s.publishSteered(t, messageID, protocol.SteerQueued, "the agent's answer to "+steeringMethod+" has no outcome")
	case answer.Outcome == "injected", answer.Outcome == "startedNewTurn": // the second: not as we asked, but the agent has it
		t.spoken = true
		s.publishSteered(t, messageID, protocol.SteerInjected, "")
	case answer.Outcome == "promptRequired":
		s.publishSteered(t, messageID, protocol.SteerQueued, "the agent was not at work")
	default:
		s.publishSteered(t, messageID, protocol.SteerQueued, "the agent answered "+printable(clip(answer.Outcome, 100)))
	}
	if t.answered != nil && len(t.steers) == 0 {
		s.steerTimer.Stop()
		s.prompted(t.answered.result, t.answered.err)
	}
}

// awaitsSteers reports whether the turn, whose prompt has its answer, must wait for the
// agent's word about messages that were given to it.
func (s *session) awaitsSteers(result json.RawMessage, err error) bool {
	if len(s.turn.steers) == 0 {
		return false
	}
	s.turn.answered = &promptAnswer{result, err}
	s.steerTimer.Reset(steerGrace)
	return true
}

// onSteerGrace stops an agent that does not say what became of a message.
func (s *session) onSteerGrace() {
	if s.turn != nil && s.turn.answered != nil {
		s.agentFault(protocol.TurnAgentProtocol, "the agent did not answer "+steeringMethod)
	}
}

// endSteers says what became of messages about which the agent will say nothing more. It
// may have taken them in. unseen: it has read nothing of them.
func (s *session) endSteers(unseen bool) {
	outcome, detail := protocol.SteerInjected, "the turn ended before the agent said whether it had taken the message in"
	if unseen {
		outcome, detail = protocol.SteerQueued, "the agent ended before it had read the message"
	}
	for _, id := range s.turn.steers {
		s.publishSteered(s.turn, id, outcome, detail)
	}
	s.turn.steers, s.turn.answered = nil, nil
	s.steerTimer.Stop()
}

func (s *session) publishSteered(t *turn, messageID, outcome, detail string) {
	s.publish(protocol.EventSteered, protocol.SteeredData{
		MessageID: messageID, Into: t.messageID, Outcome: outcome, Detail: printable(clip(detail, protocol.MaxReasonBytes)),
	})
}

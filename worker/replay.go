package worker

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sessionhub/protocol"
)

// replay is the agent's history on its way into the log: see protocol.Assign.Load. Owned by
// the session's runner.
type replay struct {
	due    bool // the history is not in the log yet
	begun  bool // the hub was told that it begins
	work   work // of the last message of it
	blocks []any
	id     string // the agent's own id of the message in blocks
	size   int    // bytes of blocks
	full   bool   // nothing more fits
}

// loadMost bounds how long a history may go on behind the answer to session/load.
const loadMost = 12 * replayMost

// replayCut stands for the rest of a message that is too long for an event.
const replayCut = "[the rest is left out: it is too long]"

// loadHistory has the agent load the session that is taken up.
func (s *session) loadHistory(can bool, params map[string]any) {
	if !can {
		s.loadRefused("the agent cannot load a session")
		return
	}
	s.agent.replaying = true
	s.open("session/load", params, func(result json.RawMessage, err error) {
		if err != nil {
			s.loadRefused(s.describe(err))
			return
		}
		s.afterReplay = func() {
			s.endReplay()
			s.opened(s.agentSession, protocol.HistoryLoaded, result)
		}
		s.replayUntil = time.Now().Add(loadMost)
		s.quietTimer.Reset(replayQuiet)
	})
}

// forkSession has the agent fork a session of its own (ACP, "Session Fork"), which becomes
// that of this session. The log has the history already.
func (s *session) forkSession(can bool) {
	if !can {
		s.loadRefused("the agent cannot fork a session")
		return
	}
	from := s.forkFrom
	s.agent.replaying = true
	s.open("session/fork", map[string]any{"sessionId": from, "cwd": s.dir, "mcpServers": s.mcpParams()}, func(result json.RawMessage, err error) {
		var answer struct {
			SessionID string `json:"sessionId"`
		}
		if err == nil {
			if err = json.Unmarshal(result, &answer); err == nil {
				err = checkAgentSession(answer.SessionID)
			}
			if err == nil && answer.SessionID == from {
				err = errors.New("the agent's fork is the session itself")
			}
		}
		if err != nil {
			s.loadRefused("session/fork: " + s.describe(err))
			return
		}
		s.agent.replaying = false
		if s.replay.due {
			s.endReplay()
		}
		s.opened(answer.SessionID, protocol.HistoryLoaded, result)
	})
}

// loadRefused ends a session whose agent does not load what was to be taken up. There is
// nothing that the session could go on with.
func (s *session) loadRefused(why string) {
	s.release("the agent's session could not be loaded: "+printable(clip(why, 2<<10)), false)
}

// stillReplaying reports whether more of the history may come, although its quiet time is
// over: the worker has not read the agent meanwhile.
func (s *session) stillReplaying() bool {
	return s.replay.due && (s.out.full() || s.deaf || time.Since(s.agent.heard) < replayQuiet && time.Now().Before(s.replayUntil))
}

// onReplay takes an update of the history. It reports whether nothing is left to publish.
func (s *session) onReplay(kind string, update json.RawMessage) bool {
	s.startTimer.Reset(s.startTimeout) // it is alive, and a history takes its time
	s.beginReplay()
	if kind != "user_message_chunk" {
		s.replayMessage()
		return false
	}
	var chunk struct {
		MessageID string          `json:"messageId"`
		Content   json.RawMessage `json:"content"`
	}
	if json.Unmarshal(update, &chunk) != nil {
		return true
	}
	r := &s.replay
	if chunk.MessageID != r.id {
		s.replayMessage()
	}
	r.id = chunk.MessageID
	r.add(cleanBlock(chunk.Content), s.w.cfg.MaxEventBytes-eventMargin)
	return true
}

// beginReplay tells the hub that the history begins. From there on no other worker loads it.
func (s *session) beginReplay() {
	if s.replay.begun {
		return
	}
	s.replay.begun = true
	s.replay.work = newWork("")
	s.publishReplay(protocol.StatusRunning)
}

// endReplay tells the hub that the log has the history.
func (s *session) endReplay() {
	s.beginReplay()
	s.replayMessage()
	s.endReplayed()
	s.publishReplay(protocol.StatusIdle)
	s.replay = replay{}
}

func (s *session) publishReplay(status protocol.Status) {
	said := protocol.WorkerStatusData{Replay: true}
	said.Status = status
	s.publish(protocol.EventStatus, said)
}

// replayMessage publishes the message that was collected.
func (s *session) replayMessage() {
	r := &s.replay
	blocks := r.blocks
	r.blocks, r.size, r.full, r.id = nil, 0, false, ""
	content, ok := replayContent(blocks)
	if !ok {
		return
	}
	s.endReplayed()
	r.work = newWork("h_" + strings.ToLower(rand.Text()))
	s.publish(protocol.EventMessage, protocol.MessageData{MessageID: r.work.messageID, Content: content, Replay: true})
}

// endReplayed ends the tool calls that the history leaves open: nothing of it runs.
func (s *session) endReplayed() {
	w := &s.replay.work
	for _, id := range w.tools.open() {
		s.publish(protocol.EventToolCall, protocol.ToolCallData{MessageID: w.messageID, ToolCallID: id, Status: toolFailed})
		w.tools.end(id)
	}
}

// textBlock is a piece of a message's text.
type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// imageBlock is a picture of a message. mediatype has looked at its bytes.
type imageBlock struct {
	Type     string `json:"type"`
	MimeType string `json:"mimeType"`
	Data     string `json:"data"`
}

// add takes a piece of a message. most bounds the bytes of the whole message. What a user
// could not have sent is left out, with a word about it.
func (r *replay) add(raw json.RawMessage, most int) {
	var block struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
		URI  string  `json:"uri"`

		MimeType string `json:"mimeType"`
		Data     string `json:"data"`
		Resource struct {
			URI string `json:"uri"`
		} `json:"resource"`
	}
	if json.Unmarshal(raw, &block) != nil || r.full || forModel(raw) {
		return
	}
	room := most - r.size - len(replayCut) - 64
	switch {
	case block.Type == "text" && block.Text != nil:
		r.addText(*block.Text, room)
	case block.Type == "image" && strings.HasPrefix(block.MimeType, "image/") && block.Data != "" && len(block.Data)+200 <= room:
		r.blocks = append(r.blocks, imageBlock{block.Type, block.MimeType, block.Data})
		r.size += len(block.Data) + 200
	case block.Type == "resource_link" && block.URI != "":
		r.addText("["+block.URI+"]", room)
	case block.Type == "resource" && block.Resource.URI != "":
		r.addText("["+block.Resource.URI+"]", room)
	case block.Type != "":
		r.addText("["+clip(block.Type, maxWord)+" left out]", room)
	}
}

// forModel reports whether a block is for the agent's model alone (ACP, "Annotations").
// opencode replays so what it has added to a message.
func forModel(raw json.RawMessage) bool {
	var block struct {
		Annotations struct {
			Audience []string `json:"audience"`
		} `json:"annotations"`
	}
	return json.Unmarshal(raw, &block) == nil && slices.Equal(block.Annotations.Audience, []string{"assistant"})
}

// addText joins a text to the text before it.
func (r *replay) addText(said string, room int) {
	said = strings.ToValidUTF8(said, "\uFFFD")
	piece := clipJSON(said, room)
	r.size += len(protocol.Marshal(piece))
	if len(piece) < len(said) {
		piece += replayCut
		r.full = true
	}
	if n := len(r.blocks); n > 0 {
		if last, ok := r.blocks[n-1].(*strings.Builder); ok {
			last.WriteString(piece)
			return
		}
	}
	text := &strings.Builder{}
	text.WriteString(piece)
	r.blocks = append(r.blocks, text)
}

// maxReplayBlocks bounds the pictures of one message.
const maxReplayBlocks = 100

// replayContent is the content of a message: a text, or a list of blocks. ok is false if it
// says nothing.
func replayContent(blocks []any) (content json.RawMessage, ok bool) {
	var list []any
	for _, b := range blocks[:min(len(blocks), maxReplayBlocks)] {
		if text, is := b.(*strings.Builder); is {
			if strings.TrimSpace(text.String()) != "" {
				list = append(list, textBlock{"text", text.String()})
			}
			continue
		}
		list = append(list, b)
	}
	switch {
	case len(list) == 0:
		return nil, false
	case len(list) == 1:
		if text, is := list[0].(textBlock); is {
			return protocol.Marshal(text.Text), true
		}
	}
	return protocol.Marshal(list), true
}

package worker

import (
	"fmt"
	"strings"
	"time"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

// childrenCheck is how often the worker looks whether an idle agent's processes still run,
// unless Config.AgentIdle is shorter.
const childrenCheck = time.Minute

// processesEnded is the data of the notice that names ended processes: the programs,
// without their arguments, which may hold secrets.
type processesEnded struct {
	Reason    string         `json:"reason"`
	Processes []endedProcess `json:"processes"` // at most 64
}

type endedProcess struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// The values of processesEnded.Reason, beside those of a release.
const (
	endedCancelled = "cancelled" // the turn was cancelled; only what it had started
	endedAgent     = "agent"     // the agent ended, or had to be ended
)

// beginIdle begins the time in which the agent has nothing to do.
func (s *session) beginIdle() {
	s.idleSince = time.Now()
	s.idleTimer.Reset(s.w.cfg.AgentIdle)
}

// onIdle gives the session back. It waits if the agent has started a process that still
// runs, such as a server for people, or works in the background. The agent then stays until
// that process has ended or that work is over, or until Config.ChildrenIdle is over. For
// the background that counts from the last sign of it.
func (s *session) onIdle() {
	cfg := &s.w.cfg
	if s.replay.due {
		s.beginIdle()
		return
	}
	if left := cfg.ChildrenIdle - time.Since(s.background.heard); s.background.works && left > 0 {
		s.idleTimer.Reset(left)
		return
	}
	left := cfg.ChildrenIdle - time.Since(s.idleSince)
	if left > 0 && s.agent != nil && s.agent.ready && !s.agent.stopped {
		if process := s.agent.process.Load(); process != nil && len(process.Running(s.agent.helpers)) > 0 {
			s.idleTimer.Reset(min(left, cfg.AgentIdle, childrenCheck))
			return
		}
	}
	s.release(protocol.ReleaseIdle, true)
}

// publishEnded names the processes that were ended.
func (s *session) publishEnded(reason string, ended []processtree.Running) {
	if len(ended) == 0 {
		return
	}
	data := processesEnded{Reason: reason}
	var names []string
	for _, r := range ended {
		p := endedProcess{PID: r.PID, Name: printable(clip(r.Name, 64))}
		data.Processes = append(data.Processes, p)
		names = append(names, fmt.Sprintf("%s (%d)", p.Name, p.PID))
	}
	notice, _ := protocol.OwnNotice(protocol.NoticeProcessesEnded)
	if reason == endedCancelled {
		notice.Title = "What the cancelled turn had started was ended"
	}
	notice.Description, notice.Data = strings.Join(names, ", "), protocol.Marshal(data)
	if len(ended) == processtree.MaxRunning {
		notice.Description += " and others"
	}
	s.log.Info("processes of an agent were ended", "reason", reason, "processes", len(ended))
	s.publish(protocol.EventNotice, notice)
}

// publishLeft names the processes that ended with an agent that is gone. It leaves out
// processes that the agent itself needs to run.
func (s *session) publishLeft(a *agent) {
	process := a.process.Load()
	if process == nil || !a.ready {
		return
	}
	reason := endedAgent
	if s.leaving != nil {
		if reason = s.leaving.reason; reason == protocol.ReleaseClosed {
			return // nothing is logged any more
		}
	}
	s.publishEnded(reason, process.Left(a.helpers))
}

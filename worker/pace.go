package worker

import (
	"bytes"
	"time"

	"sessionhub/protocol"
)

// An agent may tell its usage, its title and its options as often as it likes. Each of these
// events is a step of the session's state: the hub reads and stores the session for it alone,
// and the other sessions of the worker wait for that. So beyond a burst, the worker keeps the
// newest of each kind and tells it later. Nothing is kept beyond the end of a turn.
const (
	tellBurst = 20                     // events at once
	tellEvery = 100 * time.Millisecond // one more
)

// untold is what the agent has told and the hub has not heard yet.
type untold struct {
	usage   protocol.UsageData // the zero value: nothing
	title   *string
	options bool // they have changed
}

// pace bounds the events. Owned by the session's runner.
type pace struct {
	left float64 // events that may go out now
	at   time.Time
}

// may takes one event, if one may go out.
func (p *pace) may(now time.Time) bool {
	p.left = min(p.left+now.Sub(p.at).Seconds()/tellEvery.Seconds(), tellBurst)
	if p.at = now; p.left < 1 {
		return false
	}
	p.left--
	return true
}

// tellSoon publishes what is untold, now or when it may.
func (s *session) tellSoon() {
	switch {
	case s.told.untold == (untold{}):
	case s.told.pace.may(time.Now()):
		s.tellNow()
	default:
		s.tellTimer.Reset(tellEvery)
	}
}

// tellNow publishes what is untold. It is called before the end of a turn or of an agent too.
func (s *session) tellNow() {
	s.tellTimer.Stop()
	u := s.told.untold
	s.told.untold = untold{}
	if told := u.usage; told != (protocol.UsageData{}) {
		told.MessageID = ""
		if raw := protocol.Marshal(told); !bytes.Equal(raw, s.told.usage) {
			s.told.usage = raw
			s.publish(protocol.EventUsage, u.usage)
		}
	}
	if u.title != nil && !(s.told.titled && *u.title == s.told.title) {
		s.told.title, s.told.titled = *u.title, true
		s.publish(protocol.EventSessionInfo, protocol.SessionInfoData{Title: *u.title})
	}
	if u.options && s.opt.under == nil && s.agent != nil && s.agent.ready {
		s.tellOptions(protocol.ByAgent, 0)
	}
}

package fleet

import (
	"errors"
	"fmt"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// checkNotice checks the data of a notice.
func checkNotice(data []byte) error {
	var d protocol.NoticeData
	if err := protocol.DecodePart(data, &d); err != nil {
		return err
	}
	if d.Title == "" {
		return errors.New("title is missing")
	}
	if !d.Severity.Known() {
		return fmt.Errorf("severity is none of %v", protocol.Severities)
	}
	if len(d.Data) > protocol.MaxNoticeData {
		return fmt.Errorf("data has %d bytes: at most %d", len(d.Data), protocol.MaxNoticeData)
	}
	return session.FirstOf(
		session.CheckName("kind", d.Kind, protocol.MaxNameBytes), session.CheckLength("title", d.Title, protocol.MaxNoticeTitle),
		session.CheckLength("description", d.Description, protocol.MaxNoticeDescription),
	)
}

// renamed gives an event of an earlier worker the type that it has today. Other events stay
// as they are.
func renamed(ev protocol.WorkerEvent) protocol.WorkerEvent {
	var u protocol.AgentUpdateData
	if ev.Type != protocol.EventAgentUpdate || protocol.DecodePart(ev.Data, &u) != nil {
		return ev
	}
	notice, ok := protocol.NoticeOf(u)
	if !ok {
		return ev
	}
	notice.Description = session.CutText(notice.Description, protocol.MaxNoticeDescription)
	if len(notice.Data) > protocol.MaxNoticeData {
		notice.Data = nil
	}
	ev.Type, ev.Data = protocol.EventNotice, protocol.Marshal(notice)
	return ev
}

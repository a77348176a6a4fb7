package client

import (
	"encoding/json"

	"sessionhub/protocol"
)

// What a ListChange says of a session. Of these, the hub sends all but Gone.
const (
	ListSnapshot = string(protocol.ListSnapshot) // it is there; nothing is known of before
	ListCreated  = string(protocol.ListCreated)  // it is new
	ListChanged  = string(protocol.ListChanged)  // something else
	ListNeedsYou = string(protocol.ListNeedsYou) // a question came, and one is open
	ListFinished = string(protocol.ListFinished) // its turn has ended, or itself
	ListGone     = "gone"
)

// ListChange is what has happened to a session of the list.
type ListChange struct {
	What    string
	Session protocol.Session
}

// SessionList keeps the list of a user's sessions by the updates of a channel with
// ChannelOptions.List: see Take. The list is at most 2 s behind. It belongs to the goroutine
// of Next.
type SessionList struct {
	// Sessions are the user's, by id. Do not change it.
	Sessions map[string]protocol.Session
	// Complete says that the first snapshot is over.
	Complete bool

	marked map[string]bool // those that the present snapshot has named
}

// Take takes an update of any kind, and gives what has changed by it, mostly nothing or one
// session. After a break the hub sends all sessions again: then Take compares. A session with
// an open question that could have come meanwhile is ListNeedsYou.
func (l *SessionList) Take(u Update) ([]ListChange, error) {
	if u.SessionID != "" || u.Seq != 0 {
		return nil, nil
	}
	if l.Sessions == nil {
		l.Sessions = make(map[string]protocol.Session)
	}
	switch u.Type {
	case protocol.EventType(protocol.ControlReady): // another connection begins with another snapshot
		l.marked = nil
	case protocol.EventType(protocol.ControlListed):
		var d struct {
			Change  string           `json:"change"`
			Session protocol.Session `json:"session"`
		}
		if err := json.Unmarshal(u.Data, &d); err != nil {
			return nil, err
		}
		what := l.listed(d.Session, d.Change)
		return []ListChange{{what, d.Session}}, nil
	case protocol.EventType(protocol.ControlUnlisted):
		var d protocol.Unlisted
		if err := json.Unmarshal(u.Data, &d); err != nil {
			return nil, err
		}
		return l.remove(d.SessionID), nil
	case protocol.EventType(protocol.ControlListComplete):
		var gone []ListChange
		for id := range l.Sessions {
			if !l.marked[id] {
				gone = append(gone, l.remove(id)...)
			}
		}
		l.marked, l.Complete = nil, true
		return gone, nil
	}
	return nil, nil
}

func (l *SessionList) listed(s protocol.Session, what string) string {
	before, known := l.Sessions[s.SessionID]
	l.Sessions[s.SessionID] = s
	if what != ListSnapshot {
		return what
	}
	if l.marked == nil {
		l.marked = make(map[string]bool)
	}
	l.marked[s.SessionID] = true
	asks := questions(s) > 0 && (!known || questions(s) > questions(before) || s.LastSeq != before.LastSeq)
	switch {
	case !known && !l.Complete:
		return ListSnapshot
	case asks:
		return ListNeedsYou
	case !known:
		return ListCreated
	}
	return ListChanged
}

func questions(s protocol.Session) int { return s.PendingApprovals + s.PendingElicitations }

func (l *SessionList) remove(id string) []ListChange {
	s, ok := l.Sessions[id]
	if !ok {
		return nil
	}
	delete(l.Sessions, id)
	return []ListChange{{ListGone, s}}
}

package feed

import (
	"cmp"
	"slices"
	"time"

	"sessionhub/protocol"
)

// Reader is one reader of a user's list: a cursor on the order of its changes. It satisfies
// the channel's Source. All methods may be called concurrently.
type Reader struct {
	list *list
	wake func()

	// Guarded by the list's mutex.
	idle   bool   // it had nothing, and must be woken
	cursor uint64 // the version up to which it was told the list
	whole  uint64 // the list's version when it was told all of it: see changeLocked
	begun  uint64 // the list's version when its snapshot began: what was gone then was never told
	told   bool   // the snapshot is over
}

// Close ends the reader. It does not wait, and may be called twice.
func (r *Reader) Close() { r.list.feeds.close(r) }

// Next appends frames to b, of about most bytes together; of one session at least, if there
// is something. It returns b unchanged if there is nothing: then wake says when there is.
// It does not block and calls nothing.
func (r *Reader) Next(b []byte, enc protocol.Encoding, most int) []byte {
	l := r.list
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.told && r.cursor < l.cut {
		// It does not know which sessions are gone: a new snapshot.
		r.cursor, r.begun, r.told = 0, l.version, false
	}
	now, begin := time.Now(), len(b)
	at, _ := slices.BinarySearchFunc(l.order, r.cursor+1, func(p place, v uint64) int { return cmp.Compare(p.version, v) })
	for ; at < len(l.order) && (len(b) == begin || len(b)-begin+len(l.order[at].entry.view) < most); at++ {
		if p := l.order[at]; p.entry.version == p.version {
			b = r.appendLocked(b, enc, now, p.entry)
		}
		r.cursor = l.order[at].version
	}
	if at < len(l.order) {
		return b
	}
	r.cursor, r.whole = l.version, l.version
	if !r.told && l.whole {
		r.told = true
		b = control(b, enc, protocol.ControlListComplete, now, protocol.ListComplete{Sessions: len(l.entries) - l.gone})
	}
	r.idle = len(b) == begin
	return b
}

// appendLocked appends the frame of one session, as far as this reader knows it.
func (r *Reader) appendLocked(b []byte, enc protocol.Encoding, now time.Time, e *entry) []byte {
	if e.gone {
		if !r.told && e.version <= r.begun {
			return b
		}
		return control(b, enc, protocol.ControlUnlisted, now, protocol.Unlisted{SessionID: e.id})
	}
	return control(b, enc, protocol.ControlListed, now, protocol.Listed{Change: r.changeLocked(e), Session: e.view})
}

// changeLocked says what has happened to a session since the reader knew the whole list. The
// cursor does not tell what the reader knows of one session: its earlier places may lie before
// the cursor, and have counted no more when the cursor passed them. So a slow reader can be
// told of a change twice.
func (r *Reader) changeLocked(e *entry) protocol.ListChange {
	switch {
	case !r.told:
		return protocol.ListSnapshot
	case e.pending > 0 && e.asked > r.whole:
		return protocol.ListNeedsYou
	case e.resting && e.ended > r.whole:
		return protocol.ListFinished
	case e.created > r.whole:
		return protocol.ListCreated
	}
	return protocol.ListChanged
}

func control(b []byte, enc protocol.Encoding, t protocol.ControlType, now time.Time, data any) []byte {
	return enc.Control(b, t, "", protocol.AppendControl(nil, t, now, data))
}

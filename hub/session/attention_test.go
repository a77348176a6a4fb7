package session

import (
	"encoding/json"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// A session is unread when it asks and when its work ends, until its user has read so far or
// acts on it.
func TestUnread(t *testing.T) {
	r := running(t)
	want := func(what string, unread bool) {
		t.Helper()
		if r.err != nil || r.s.Unread != unread {
			t.Errorf("%s: unread is %v, want %v (%v)", what, r.s.Unread, unread, r.err)
		}
	}
	want("it runs", false)
	r.do(ask("i1", "{}"))
	want("it asks", true)
	r.do(option("i1", "once"))
	want("the user answers", false)
	r.do(ended("m1"))
	want("the turn ends", true)
	if end := r.s.LastEnd; end == nil || end.StopReason != protocol.StopEndTurn || !end.At.Equal(r.now.Truncate(1e6)) {
		t.Errorf("the end of the turn is %+v", r.s.LastEnd)
	}
	r.do(&InSeen{Seq: 8, Asked: 9})
	want("the user has not read the end", true)
	r.do(&InSeen{Seq: 9, Asked: 9})
	want("the user has", false)
	r.do(InDone{Message: 1}, say("m2"), InHand{Command: 3}, InActivity{}, say("m3"), ended("m2"))
	want("another message waits", false)
	r.do(InDone{Message: 3}, InClose{Reason: protocol.ClosedFailed})
	want("it fails", true)
	r.do(&InSeen{Seq: 99, Asked: 20})
	want("a failed one can be read", false)

	// What an "always" answers calls for nobody, and so does what was taken back unseen.
	r = running(t).do(ask("i1", "{}"), option("i1", "always"), ask("i2", "{}"))
	want("answered by a rule", false)
	r = newStepper(t).do(say("m1"), InCancel{MessageID: "m1"})
	want("taken back", false)
}

// A history that is taken up is no news.
func TestHistoryIsNoNews(t *testing.T) {
	r := newStepper(t)
	c, err := NewState(Info{SessionID: "s1", UserID: "u1", TakeUp: &TakeUp{AgentSession: "a", Workspace: "ws"}}, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.take(c)
	loads := assign
	loads.Loads = true
	r.do(loads, InReplay{Begins: true}, InReplayMessage{Data: protocol.MessageData{MessageID: "h1", Content: []byte(`"hi"`)}}, InReplay{})
	if r.err != nil || r.s.Unread || r.s.LastEnd != nil {
		t.Errorf("unread is %v, the end %+v (%v)", r.s.Unread, r.s.LastEnd, r.err)
	}
}

// Marks hold for open and ended sessions, log nothing, and a message takes a session out of
// the archive.
func TestMarks(t *testing.T) {
	r := newStepper(t).do(InMark{Pinned: new(true), Archived: new(true)}).want()
	if !r.s.Pinned || !r.s.Archived {
		t.Errorf("%+v", r.s)
	}
	r.do(say("m1"))
	if !r.s.Pinned || r.s.Archived {
		t.Errorf("after a message: %+v", r.s)
	}
	r.do(InClose{Reason: protocol.ClosedExpired}, InMark{Archived: new(true)})
	if r.err != nil || !r.s.Archived {
		t.Errorf("an ended one: %v", r.err)
	}
	r.do(InDelete{}, InMark{Archived: new(false)})
	if r.err != ErrNotFound {
		t.Errorf("a deleted one: %v", r.err)
	}
	r.do(&InSeen{Seq: 1})
	if r.err != ErrNotFound {
		t.Errorf("a deleted one: %v", r.err)
	}
}

// A search finds a title and the beginning of the first message.
func TestMatches(t *testing.T) {
	content, _ := json.Marshal("Fix the bug\nin the PARSER, " + strings.Repeat("é", 300) + "end")
	in := say("m1")
	in.Data.Content = content
	r := newStepper(t).do(in, say("m2"), InRename{Title: "My Title"})
	for text, want := range map[string]bool{"my title": true, "the parser": true, "bug in the": true, "end": false, "hi": false, "": true} {
		if Matches(r.s, text) != want {
			t.Errorf("%q: found is %v; the beginning is %q", text, !want, r.s.Beginning)
		}
	}
	if len(r.s.Beginning) > maxBeginning {
		t.Errorf("%d bytes are kept", len(r.s.Beginning))
	}
}

// A mark is a change of what a listing shows, though no event tells of it.
func TestMarksAreListed(t *testing.T) {
	r := running(t).do(ended("m1"), InDone{Message: 1})
	for _, in := range []Input{InMark{Pinned: new(true)}, InMark{Archived: new(true)}, &InSeen{Seq: 9, Asked: 9}} {
		before := r.s
		if r.do(in); r.err != nil || !Listed(before, r.s) {
			t.Errorf("%T is not announced (%v)", in, r.err)
		}
	}
}

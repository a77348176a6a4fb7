package soak

import (
	"encoding/json"
	"fmt"
	"hash/crc64"
	"slices"
	"strings"
	"sync"

	"sessionhub/protocol"
)

// mostFindings bounds what a record keeps: after the first ones the others only
// follow from them.
const mostFindings = 10

var crcTable = crc64.MakeTable(crc64.ECMA)

// Record is what one client has seen of one session's log. Every frame that a
// stream gives goes in by Frame, in the order of arrival; what is wrong comes
// out by Findings. All methods may be called concurrently.
//
// Events come one by one, or compacted (docs/PROTOCOL.md, "Compaction"). A compacted
// one can reach back behind what is known only as the first one of a stream, and takes
// the place of whole events that say what it says. Logs are compared in the form that
// both have in common.
//
// A store that was restarted may have lost the end of its log, and says so with a
// new epoch: a cursor that counts in the old one is answered by a gap, and what
// lies behind it is given again. With restarts, such a gap is counted and no
// finding; but a store that loses nothing must give again what it gave before.
//
// With a ledger the store does lose its end (a failover): the gap voids what lies
// behind it, and the record is then as if that had never come. A gap that voids
// what the log has kept is a finding, and so are two events under one number of one
// epoch, whichever client has seen them.
type Record struct {
	name     string
	restarts bool
	ledger   *ledger // nil: the store loses nothing

	mu        sync.Mutex
	announced string // the epoch of the connection, until something follows it
	epoch     string // that the cursor counts in
	next      uint64 // seq that comes next: behind all that is known, but for a gap
	gaps      int
	runs      int             // compacted events that came
	within    int             // those of them that took the place of what was known
	unknown   []string        // epochs of cursors that were answered by a gap from the beginning
	resumed   bool            // the next event is the first one of a stream
	stale     bool            // the connection goes on where this record cannot
	events    []logged        // as they are known now
	given     []logged        // what a store that loses nothing has to give again; nil: nothing
	void      map[form]uint64 // sums of what a gap has voided, until something takes the number
	turns     map[string]*Turn
	questions map[string]*question
	status    protocol.Status
	closed    bool
	findings  []string
	changed   chan struct{} // closed and replaced with each event
}

// ledger is what all clients have seen of one session, by number and epoch. Its
// methods may be called concurrently.
type ledger struct {
	mu   sync.Mutex
	sums map[form]uint64
}

// enter notes an event, and reports whether another one has its numbers.
func (l *ledger) enter(epoch string, e logged) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sums == nil {
		l.sums = make(map[form]uint64)
	}
	key := e.form()
	key.epoch = epoch
	before, known := l.sums[key]
	l.sums[key] = e.sum
	return !known || before == e.sum
}

// Turn is one message and what came of it.
type Turn struct {
	MessageID string
	Text      string // the outputs, joined
	End       *protocol.CompleteData
}

type question struct {
	turn     string
	data     protocol.ToolApprovalData
	resolved bool
}

// NewRecord is an empty record; the name is for its findings.
func NewRecord(name string) *Record {
	return &Record{
		name: name, next: 1, turns: make(map[string]*Turn), questions: make(map[string]*question), changed: make(chan struct{}),
	}
}

// Cursor is where a stream goes on after this record: empty at the beginning.
func (r *Record) Cursor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == "" {
		return ""
	}
	return fmt.Sprintf("%s-%d", r.epoch, r.next-1)
}

// Gaps counts the gaps that a restart of the store explains.
func (r *Record) Gaps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaps
}

// Compacted counts the compacted events that came, and those of them that reached back.
func (r *Record) Compacted() (runs, within int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs, r.within
}

// Unknown lists the epochs that the hub did not know, as it said by a gap from the
// log's beginning.
func (r *Record) Unknown() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.unknown)
}

// Last is the highest seq that the stream has reached.
func (r *Record) Last() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next - 1
}

// Status is that of the last status event.
func (r *Record) Status() protocol.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Turn gives what is known of a message.
func (r *Record) Turn(messageID string) (Turn, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.turns[messageID]
	if t == nil {
		return Turn{}, false
	}
	return *t, true
}

// Open lists the questions without an answer: none while the past is given again.
func (r *Record) Open() []protocol.ToolApprovalData {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.given != nil {
		return nil
	}
	var open []protocol.ToolApprovalData
	for _, q := range r.questions {
		if !q.resolved {
			open = append(open, q.data)
		}
	}
	return open
}

// Changed is closed with the next event.
func (r *Record) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Stale reports that the present connection is of no use any more: it goes on in the
// middle of an event that this record has lost. The next one begins at Cursor.
func (r *Record) Stale() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stale
}

// Resume says that the next event is the first one of a stream, or of a page of history.
func (r *Record) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resumed, r.stale = true, false
}

// Findings is everything that was wrong, the first first.
func (r *Record) Findings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.findings)
}

// Frame takes the JSON of one frame.
func (r *Record) Frame(raw []byte) { r.FrameWithID(raw, "") }

// FrameWithID takes a frame whose transport gives it an id (SSE): the cursor
// behind it, which also tells that the log has gone on to another epoch.
func (r *Record) FrameWithID(raw []byte, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e protocol.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		r.findLocked("a frame that is no JSON: %.80q", raw)
		return
	}
	if e.Seq == 0 {
		r.controlLocked(e)
		return
	}
	r.adoptLocked()
	resumed := r.resumed
	r.resumed = false
	if first := e.First(); first > r.next || first < r.next && !resumed || e.Seq < max(first, r.next) {
		r.findLocked("%d to %d (%s) came where %d was next", first, e.Seq, e.Type, r.next)
		return
	}
	if id != "" {
		epoch, seq, _ := strings.Cut(id, "-")
		if seq != fmt.Sprint(e.Seq) {
			r.findLocked("the event %d has the id %s", e.Seq, id)
		}
		if epoch != r.epoch && !r.restarts {
			r.findLocked("the event with the id %s is of another epoch than %s", id, r.epoch)
		}
		r.epoch = epoch
	}
	now := logged{Event: e, sum: crc64.Checksum(raw, crcTable)}
	if !r.replaceLocked(now) {
		return
	}
	if e.From != 0 {
		r.runs++
	}
	r.next = e.Seq + 1
	r.events = append(r.events, now)
	if r.ledger != nil {
		if !r.ledger.enter(r.epoch, now) {
			r.findLocked("%s-%d (%s) is another event than a client had under this number", r.epoch, e.Seq, e.Type)
		}
		if old, was := r.void[now.form()]; was && old == now.sum {
			r.findLocked("a gap had voided the event %d (%s), which the log has kept", e.Seq, e.Type)
		}
		delete(r.void, now.form())
	}
	if n := len(r.given); n > 0 && r.given[n-1].Seq <= e.Seq {
		if what := differ(r.given, r.events, true); what != "" {
			r.findLocked("behind a gap the log is not given again as it was: %s", what)
		}
		r.given = nil
	}
	r.eventLocked(e)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Record) controlLocked(e protocol.Event) {
	switch protocol.ControlType(e.Type) {
	case protocol.ControlConnected:
		var c protocol.Connected
		if read(e, &c) {
			r.announced, r.resumed, r.stale = c.Epoch, true, false
		}
	case protocol.ControlCaughtUp:
		var c protocol.CaughtUp
		if read(e, &c) && c.Seq != r.next-1 {
			r.findLocked("caught up with %d at %d", c.Seq, r.next-1)
		}
		r.adoptLocked()
	case protocol.ControlGap:
		var g protocol.Gap
		read(e, &g)
		if !r.restarts || g.Reason != protocol.GapEpochChanged || g.FromSeq < 1 || g.FromSeq > g.ToSeq || g.ToSeq != r.next-1 {
			r.findLocked("a gap at %s-%d: %s", r.epoch, r.next-1, e.Data)
			return
		}
		if g.FromSeq == 1 && !slices.Contains(r.unknown, r.epoch) {
			r.unknown = append(r.unknown, r.epoch)
		}
		r.adoptLocked()
		r.gaps++
		r.epoch = g.Epoch
		r.voidLocked(g)
	}
}

// replaceLocked takes back what an event stands for, if that is known already. false: it
// cannot take its place.
func (r *Record) replaceLocked(e logged) bool {
	kept := len(r.events)
	for kept > 0 && r.events[kept-1].Seq >= e.First() {
		kept--
	}
	old := r.events[kept:]
	if len(old) == 0 {
		return true
	}
	whole, parts := segmentOf(e), segments(old)
	if len(parts) > 1 || !parts[0].grows() || !parts[0].begins(whole) {
		r.findLocked("%s does not take the place of %s", whole, parts)
		return false
	}
	if turn := r.turns[messageOf(e.Event)]; turn != nil {
		turn.Text = strings.TrimSuffix(turn.Text, parts[0].text)
	}
	r.events = r.events[:kept]
	r.within++
	return true
}

func messageOf(e protocol.Event) string {
	var about struct{ MessageID string }
	read(e, &about)
	return about.MessageID
}

// voidLocked forgets what a gap has voided, and all that followed from it. A store that
// loses nothing has to give it again. A compacted event of which a part is void is lost
// as a whole: the next connection begins before it.
func (r *Record) voidLocked(g protocol.Gap) {
	if r.void == nil {
		r.void = make(map[form]uint64)
	}
	if g.FromSeq == 1 {
		// A cursor of an epoch that was lost with everything in it has nothing in
		// common with the log, as far as the log can know: it begins anew.
		clear(r.void)
	}
	kept := len(r.events)
	for kept > 0 && r.events[kept-1].Seq >= g.FromSeq {
		kept--
		if e := r.events[kept]; g.FromSeq > 1 {
			r.void[e.form()] = e.sum
		}
	}
	if n := len(r.events); r.ledger == nil && n > 0 && (len(r.given) == 0 || r.given[len(r.given)-1].Seq < r.events[n-1].Seq) {
		r.given = slices.Clone(r.events)
	}
	r.next = g.FromSeq
	if kept < len(r.events) && r.events[kept].First() < g.FromSeq {
		r.next, r.stale = r.events[kept].First(), true
	}
	r.events, r.status, r.closed = r.events[:kept], "", false
	clear(r.turns)
	clear(r.questions)
	for _, e := range r.events {
		r.eventLocked(e.Event)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// adoptLocked has the cursor count in the epoch of the connection. Not as soon as
// that is told: a connection that broke before the gap that follows would take the
// reason for the gap with it.
func (r *Record) adoptLocked() {
	if r.announced != "" {
		r.epoch, r.announced = r.announced, ""
	}
}

func read(e protocol.Event, v any) bool { return json.Unmarshal(e.Data, v) == nil }

func (r *Record) eventLocked(e protocol.Event) {
	if r.closed {
		r.findLocked("%d (%s) came after closed", e.Seq, e.Type)
	}
	var about struct{ MessageID, InteractionID, Text string }
	if !read(e, &about) {
		r.findLocked("%d (%s) has data of another shape: %.80q", e.Seq, e.Type, e.Data)
		return
	}
	turn := r.turns[about.MessageID]
	running := turn != nil && turn.End == nil
	switch e.Type {
	case protocol.EventMessage:
		if turn != nil {
			r.findLocked("%d: the message %s is there a second time", e.Seq, about.MessageID)
			return
		}
		r.turns[about.MessageID] = &Turn{MessageID: about.MessageID}
	case protocol.EventOutput:
		if !running {
			r.findLocked("%d: output of %s, which does not run", e.Seq, about.MessageID)
			return
		}
		turn.Text += about.Text
	case protocol.EventComplete:
		if !running {
			r.findLocked("%d: complete of %s, which does not run", e.Seq, about.MessageID)
			return
		}
		turn.End = &protocol.CompleteData{}
		read(e, turn.End)
		for id, q := range r.questions {
			if q.turn == about.MessageID && !q.resolved {
				r.findLocked("%d: complete of %s leaves the question %s open", e.Seq, about.MessageID, id)
			}
		}
	case protocol.EventToolApproval:
		q := &question{turn: about.MessageID}
		read(e, &q.data)
		if r.questions[about.InteractionID] != nil || !running {
			r.findLocked("%d: the question %s is there a second time, or out of a turn", e.Seq, about.InteractionID)
		}
		r.questions[about.InteractionID] = q
	case protocol.EventApprovalResolved:
		q := r.questions[about.InteractionID]
		if q == nil || q.resolved {
			r.findLocked("%d: an answer to %s, which is not open", e.Seq, about.InteractionID)
			return
		}
		q.resolved = true
	case protocol.EventStatus:
		var s protocol.StatusData
		if read(e, &s) {
			r.status = s.Status
		}
	case protocol.EventClosed:
		r.closed = true
	}
}

func (r *Record) findLocked(format string, args ...any) {
	if len(r.findings) < mostFindings {
		r.findings = append(r.findings, r.name+": "+fmt.Sprintf(format, args...))
	}
}

// Find adds a finding of somebody else's.
func (r *Record) Find(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findLocked(format, args...)
}

// Compare finds what two records of one session do not have in common. Both must
// have been read to the end.
func (r *Record) Compare(o *Record) []string {
	r.mu.Lock()
	mine := slices.Clone(r.events)
	r.mu.Unlock()
	o.mu.Lock()
	theirs := slices.Clone(o.events)
	o.mu.Unlock()
	if what := differ(mine, theirs, false); what != "" {
		return []string{fmt.Sprintf("%s and %s: %s", r.name, o.name, what)}
	}
	return nil
}

// CheckStream judges the text of a turn of "/stream n size ...": the pieces 1 to n,
// each once and in order; of a turn that did not end well, the first ones.
func CheckStream(t Turn, n, size int) error {
	rest := t.Text
	for i := 1; i <= n; i++ {
		head := fmt.Sprintf("%d ", i)
		piece := head + strings.Repeat("x", max(0, size-len(head)-1)) + "\n"
		after, ok := strings.CutPrefix(rest, piece)
		if !ok {
			if rest == "" && t.End != nil && t.End.StopReason != protocol.StopEndTurn {
				return nil
			}
			return fmt.Errorf("the turn %s (%+v) has %.60q where piece %d was next", t.MessageID, t.End, rest, i)
		}
		rest = after
	}
	if rest != "" {
		return fmt.Errorf("the turn %s goes on after its %d pieces: %.60q", t.MessageID, n, rest)
	}
	return nil
}

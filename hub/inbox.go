package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/transcript"
	"sessionhub/protocol"
)

// Inbox is what concerns a user over all sessions, and the marks of sessions. All methods
// may be called concurrently.
type Inbox struct {
	cmd   *Commands
	lines *lastLines
}

func newInbox(cmd *Commands) Inbox {
	return Inbox{cmd, &lastLines{store: cmd.store, known: make(map[string]lastLine)}}
}

// Read gives what concerns a user now; an empty user means everybody. It looks at the newest
// protocol.InboxScan sessions, and says when there are more.
func (x Inbox) Read(ctx context.Context, user string) (protocol.Inbox, error) {
	const mostWorking = protocol.MaxInboxNeeds + protocol.MaxInboxWorking
	working, more, err := x.cmd.store.List(ctx, store.ListQuery{
		User: user, Class: store.Working, Limit: mostWorking, Scan: protocol.InboxScan,
	})
	if err != nil {
		return protocol.Inbox{}, err
	}
	news, older, err := x.cmd.store.List(ctx, store.ListQuery{
		User: user, Class: store.News, Archived: new(false), Limit: protocol.MaxInboxFinished, Scan: protocol.InboxScan,
	})
	if err != nil {
		return protocol.Inbox{}, err
	}
	needs := slices.DeleteFunc(slices.Clone(working), func(s store.Snapshot) bool { return s.State.Questions() == 0 })
	working = slices.DeleteFunc(working, func(s store.Snapshot) bool { return s.State.Questions() > 0 || s.State.Archived })
	truncated := more != "" || older != ""
	slices.SortStableFunc(needs, func(a, b store.Snapshot) int {
		at, _ := session.OldestQuestion(a.State)
		bt, _ := session.OldestQuestion(b.State)
		return at.Compare(bt)
	})
	slices.SortStableFunc(working, func(a, b store.Snapshot) int { return workingSince(b).Compare(workingSince(a)) })
	slices.SortStableFunc(news, func(a, b store.Snapshot) int { return finishedAt(b).Compare(finishedAt(a)) })
	fit := fitting(needs)
	if len(fit) < len(needs) || len(working) > protocol.MaxInboxWorking {
		truncated = true
	}
	needs, working = fit, working[:min(len(working), protocol.MaxInboxWorking)]

	shown := slices.Concat(needs, news, working)
	views, err := x.cmd.Views(ctx, shown)
	if err != nil {
		return protocol.Inbox{}, err
	}
	lines := x.lines.of(ctx, shown[len(needs):])
	out := protocol.Inbox{
		NeedsYou: make([]protocol.InboxNeed, 0, len(needs)), Finished: make([]protocol.InboxFinished, 0, len(news)),
		Working: make([]protocol.InboxWorking, 0, len(working)), Truncated: truncated,
	}
	for i, s := range needs {
		out.NeedsYou = append(out.NeedsYou, need(s, views[i]))
	}
	views = views[len(needs):]
	for i, s := range news {
		f := protocol.InboxFinished{Session: views[i], FinishedAt: finishedAt(s), LastText: lines[i]}
		if end := s.State.LastEnd; end != nil {
			f.StopReason = end.StopReason
		}
		out.Finished = append(out.Finished, f)
	}
	views, lines = views[len(news):], lines[len(news):]
	for i, s := range working {
		out.Working = append(out.Working, protocol.InboxWorking{Session: views[i], Since: workingSince(s), LastText: lines[i]})
	}
	return out, nil
}

// need shows a session with its open questions, as the log has them.
func need(s store.Snapshot, view protocol.Session) protocol.InboxNeed {
	since, _ := session.OldestQuestion(s.State)
	n := protocol.InboxNeed{
		Session: view, Since: millis(since),
		Approvals:    make([]protocol.ToolApprovalData, 0, len(s.State.Approvals)),
		Elicitations: make([]protocol.ElicitationData, 0, len(s.State.Elicitations)),
	}
	for _, a := range s.State.Approvals {
		n.Approvals = append(n.Approvals, a.Data)
	}
	for _, e := range s.State.Elicitations {
		n.Elicitations = append(n.Elicitations, e.Data)
	}
	return n
}

// fitting are the first sessions whose questions fit an answer.
func fitting(needs []store.Snapshot) []store.Snapshot {
	size := 0
	for i, s := range needs {
		for _, a := range s.State.Approvals {
			size += len(a.Data.Input) + len(a.Data.Title)
			for _, c := range a.Data.Content {
				size += len(c)
			}
		}
		for _, e := range s.State.Elicitations {
			size += len(e.Data.RequestedSchema) + len(e.Data.Message)
		}
		if i == protocol.MaxInboxNeeds || i > 0 && size > protocol.MaxInboxBytes {
			return needs[:i]
		}
	}
	return needs
}

func workingSince(s store.Snapshot) time.Time {
	if _, runs := s.State.Turn(); runs {
		return millis(s.State.TurnStarted)
	}
	return millis(s.LastActivity)
}

func finishedAt(s store.Snapshot) time.Time {
	at := s.LastActivity
	if end := s.State.LastEnd; end != nil {
		at = end.At
	}
	return millis(at)
}

func millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Seen notes that a session's user has read its log up to an event.
func (x Inbox) Seen(ctx context.Context, id string, seq uint64) error {
	in := &session.InSeen{Seq: seq}
	_, err := x.cmd.engine.Decide(ctx, id, in, engine.Terms{
		Note: session.AttentionNote,
		Judge: func(_ context.Context, snap store.Snapshot, note store.Noted) error {
			in.Asked = note.Seq
			_, err := store.Visible(snap, nil)
			return err
		},
	})
	return err
}

// Act does one of protocol.BatchActions on a session. The caller has checked that its user
// may.
func (x Inbox) Act(ctx context.Context, id, action string) error {
	mark := session.InMark{}
	switch action {
	case protocol.BatchDelete:
		return x.cmd.Delete(ctx, id)
	case protocol.BatchSeen:
		return x.Seen(ctx, id, ^uint64(0))
	case protocol.BatchArchive, protocol.BatchUnarchive:
		mark.Archived = new(action == protocol.BatchArchive)
	case protocol.BatchPin, protocol.BatchUnpin:
		mark.Pinned = new(action == protocol.BatchPin)
	default:
		return fmt.Errorf("%w: want an action that is %s", session.ErrInvalid, strings.Join(protocol.BatchActions, ", "))
	}
	_, _, err := x.cmd.engine.Change(ctx, id, mark, nil)
	return err
}

// lastLines reads the last lines of sessions' logs, and keeps them while the logs stay as
// they are.
type lastLines struct {
	store store.Reader

	mu    sync.Mutex
	known map[string]lastLine // by session; guarded by mu
}

type lastLine struct {
	epoch string
	last  uint64
	text  string
}

const (
	maxLastLines   = 10_000 // that are kept
	lastLineReads  = 8      // at once, of one inbox
	lastLineBytes  = 256 << 10
	lastLineEvents = 512
)

// of gives the last line of each session. It is empty where the log has none near its end,
// or cannot be read now.
func (l *lastLines) of(ctx context.Context, snaps []store.Snapshot) []string {
	out := make([]string, len(snaps))
	var wg sync.WaitGroup
	slots := make(chan struct{}, lastLineReads)
	for i, s := range snaps {
		now := lastLine{epoch: s.Epoch(), last: s.Last}
		l.mu.Lock()
		known := l.known[s.State.Info.SessionID]
		l.mu.Unlock()
		if known.epoch == now.epoch && known.last == now.last {
			out[i] = known.text
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			line, err := l.read(ctx, s)
			if err != nil {
				return
			}
			out[i], now.text = line, line
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.known) >= maxLastLines {
				clear(l.known)
			}
			l.known[s.State.Info.SessionID] = now
		})
	}
	wg.Wait()
	return out
}

// read looks for the last line at the end of the log, and if it must, further before it.
func (l *lastLines) read(ctx context.Context, s store.Snapshot) (string, error) {
	turns := 0
	if session.AtRest(s.State) {
		turns = 1
	}
	for _, back := range []uint64{64, lastLineEvents} {
		after := s.Last - min(s.Last, back)
		page, err := l.store.Read(ctx, s.State.Info.SessionID, after, lastLineEvents, lastLineBytes)
		if err != nil {
			return "", err
		}
		if line := transcript.LastLine(page.Entries, turns); line != "" || after == 0 {
			return line, nil
		}
	}
	return "", nil
}

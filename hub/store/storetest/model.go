package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Crash ends a store as a fault does, without a clean end. It opens the store again with
// the data that it has kept.
type Crash func(t *testing.T) store.Store

// mostWithCrashes bounds the runs of a store that is crashed: each crash takes time.
const mostWithCrashes = 30

// RunModel compares a store with a plain list. It appends, compacts, trims, forgets and
// crashes at random. A reader that goes on from any cursor must find what the list has.
//
// open gives an empty store and a function that crashes it. The function is nil if the
// store's data does not outlive the store.
func RunModel(t *testing.T, open func(t *testing.T, r store.Retention) (store.Store, Crash)) {
	for name, retention := range map[string]store.Retention{
		"all is kept": {}, "by count": {MaxEvents: 20}, "by bytes": {MaxBytes: 4000},
	} {
		t.Run(name, func(t *testing.T) {
			st, crash := open(t, retention)
			runs := 0
			rapid.Check(t, func(rt *rapid.T) {
				if runs++; crash != nil && runs > mostWithCrashes {
					return
				}
				m := &model{t: rt, ctx: context.Background(), store: st, retention: retention, id: fmt.Sprint("s", runs)}
				m.create()
				actions := map[string]func(*rapid.T){
					"append": m.append, "compact": m.compact, "compact what is outdated": m.compactOutdated, "resume": m.resume, "forget": m.forget,
					"": m.check,
				}
				if crash != nil {
					actions["crash"] = func(rt *rapid.T) {
						if rapid.IntRange(0, 7).Draw(rt, "crash") == 0 {
							m.store = crash(t)
							st = m.store
						}
					}
				}
				rt.Repeat(actions)
			})
		})
	}
}

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// model is a session as a list of what was appended.
type model struct {
	t         *rapid.T
	ctx       context.Context
	store     store.Store
	retention store.Retention
	id        string

	texts  []string // by seq - 1; what is no output has none
	size   int64    // of all that was ever appended, as it came
	first  uint64   // as it was seen last: it never goes back
	forgot uint64   // up to here all was forgotten
}

func (m *model) last() uint64 { return uint64(len(m.texts)) }

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) create() {
	ch, err := session.NewState(session.Info{SessionID: m.id, UserID: "u1", Provider: "demo"}, policy, began)
	m.must(err)
	_, err = m.store.Create(m.ctx, m.id, store.Batch{State: ch.State, Events: ch.Events}, 0)
	m.must(err)
	m.texts = append(m.texts, "")
	m.size = 200
}

func (m *model) append(rt *rapid.T) {
	m.t = rt
	var b store.Batch
	for range rapid.IntRange(1, 12).Draw(rt, "events") {
		text := strings.Repeat("x", rapid.IntRange(0, 200).Draw(rt, "length")) + fmt.Sprint(m.last()+1, ";")
		if rapid.IntRange(0, 9).Draw(rt, "kind") == 0 {
			b.Events = append(b.Events, session.NewEvent{Type: protocol.EventPlan, Data: []byte(`{"entries":[]}`)})
			text = ""
		} else {
			b.Events = append(b.Events, outputs(text)...)
		}
		m.texts = append(m.texts, text)
		m.size += int64(len(text)) + 200
	}
	done, err := m.store.Append(m.ctx, m.id, b)
	m.must(err)
	if done.Last != m.last() || done.First != m.last()-uint64(len(b.Events))+1 {
		rt.Fatalf("appended %+v, want an end at %d", done, m.last())
	}
}

// step is a compaction of the events behind the last one, up to a seq.
func (m *model) step(to uint64, each int) store.Compaction {
	snap, err := m.store.Load(m.ctx, m.id)
	m.must(err)
	p, err := m.store.Read(m.ctx, m.id, max(snap.Compacted, snap.First-1), 1<<20, 1<<30)
	m.must(err)
	c := store.Compaction{Epoch: p.Epoch, After: snap.Compacted}
	var run []protocol.Entry
	end := func() {
		if len(run) > 0 {
			c.Entries = append(c.Entries, m.merged(run))
			run = nil
		}
	}
	for _, e := range p.Entries {
		if e.Seq > to {
			break
		}
		if e.Type == protocol.EventOutput {
			if run = append(run, e); len(run) == each {
				end()
			}
			continue
		}
		end()
		c.Entries = append(c.Entries, e)
	}
	end()
	return c
}

func (m *model) merged(run []protocol.Entry) protocol.Entry {
	last := run[len(run)-1]
	e := protocol.Entry{Seq: last.Seq, Type: last.Type}
	if e.From = run[0].First(); e.From == e.Seq {
		e.From = 0
	}
	e.Tail = protocol.AppendEventTail(nil, e.Type, began, outputs(m.said(run[0].First(), last.Seq))[0].Data)
	return e
}

// said is the list's text for a range of seqs.
func (m *model) said(from, to uint64) string { return strings.Join(m.texts[from-1:to], "") }

func (m *model) compact(rt *rapid.T) {
	m.t = rt
	c := m.step(rapid.Uint64Range(1, m.last()).Draw(rt, "to"), rapid.IntRange(1, 9).Draw(rt, "each"))
	if len(c.Entries) > 0 {
		m.must(m.store.Compact(m.ctx, m.id, c))
	}
}

// compactOutdated prepares a step, changes the log, and then takes the step. The step must
// not change anything that it does not know.
func (m *model) compactOutdated(rt *rapid.T) {
	m.t = rt
	c := m.step(m.last(), 4)
	switch rapid.IntRange(0, 2).Draw(rt, "meanwhile") {
	case 0:
		m.append(rt)
	case 1:
		m.compact(rt)
	case 2:
		m.forget(rt)
	}
	if len(c.Entries) == 0 {
		return
	}
	if err := m.store.Compact(m.ctx, m.id, c); err != nil && !errors.Is(err, store.ErrConflict) {
		rt.Fatal(err)
	}
}

func (m *model) forget(rt *rapid.T) {
	m.t = rt
	if rapid.IntRange(0, 9).Draw(rt, "forget") > 0 {
		return
	}
	snap, err := m.store.Load(m.ctx, m.id)
	m.must(err)
	m.forgot = m.last()
	m.texts = append(m.texts, "kept;")
	_, err = m.store.Append(m.ctx, m.id, store.Batch{State: snap.State, Expect: snap.Version, Events: outputs("kept;"), Forget: true})
	m.must(err)
}

// resume reads on from any cursor, page by page.
func (m *model) resume(rt *rapid.T) {
	m.t = rt
	cursor := rapid.Uint64Range(0, m.last()).Draw(rt, "cursor")
	events, bytes := rapid.IntRange(1, 30).Draw(rt, "maxEvents"), rapid.IntRange(1, 3000).Draw(rt, "maxBytes")
	for begun := false; cursor < m.last(); begun = true {
		p, err := m.store.Read(m.ctx, m.id, cursor, events, bytes)
		m.must(err)
		if len(p.Entries) == 0 || len(p.Entries) > events {
			rt.Fatalf("%d entries behind %d of %d", len(p.Entries), cursor, m.last())
		}
		first := p.Entries[0]
		if first.First() > cursor+1 && (begun || first.First() != p.First) || begun && first.First() != cursor+1 {
			rt.Fatalf("behind %d comes %d to %d", cursor, first.First(), first.Seq)
		}
		cursor = m.entries(p)
	}
}

// entries compares a page with the list, and returns the page's last seq.
func (m *model) entries(p store.Page) (last uint64) {
	for i, e := range p.Entries {
		if i > 0 && e.First() != last+1 || e.Seq > m.last() || e.First() <= m.forgot {
			m.t.Fatalf("%d to %d comes behind %d", e.First(), e.Seq, last)
		}
		last = e.Seq
		var event protocol.Event
		var d protocol.OutputData
		m.must(protocol.Decode(e.AppendJSON(nil), &event))
		m.must(protocol.Decode(event.Data, &d))
		if d.Text != m.said(e.First(), e.Seq) {
			m.t.Fatalf("%d to %d says %q, want %q", e.First(), e.Seq, d.Text, m.said(e.First(), e.Seq))
		}
	}
	return last
}

// check compares the whole log with the list.
func (m *model) check(rt *rapid.T) {
	m.t = rt
	snap, err := m.store.Load(m.ctx, m.id)
	m.must(err)
	p, err := m.store.Read(m.ctx, m.id, 0, 1<<20, 1<<30)
	m.must(err)
	if len(p.Entries) == 0 || p.Entries[0].First() != snap.First || p.First != snap.First || snap.Last != m.last() || m.entries(p) != m.last() {
		rt.Fatalf("%d entries from %d to %d, want an end at %d", len(p.Entries), snap.First, snap.Last, m.last())
	}
	if snap.First < m.first || snap.Compacted > snap.Last {
		rt.Fatalf("the log begins at %d, and began at %d; compacted up to %d of %d", snap.First, m.first, snap.Compacted, snap.Last)
	}
	m.first = snap.First
	var bytes int64
	for _, e := range p.Entries {
		bytes += int64(e.JSONLen())
	}
	if m.retention.Exceeded(len(p.Entries), bytes) {
		rt.Fatalf("%d entries of %d bytes are kept", len(p.Entries), bytes)
	}
	// If the log never exceeded its bounds, nothing was trimmed.
	if !m.retention.Exceeded(int(m.last()), m.size) && snap.First != m.forgot+1 {
		rt.Fatalf("the log begins at %d", snap.First)
	}
}

package valkey

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// pair is one session in this store and in the one in memory, which is the model.
type pair struct {
	t      *rapid.T
	ctx    context.Context
	stores [2]store.Store
	said   int
}

// both does the same to both, which must answer the same.
func (p *pair) both(what string, f func(store.Store) error) {
	p.t.Helper()
	model, err := f(p.stores[1]), f(p.stores[0])
	if (model == nil) != (err == nil) || errors.Is(model, store.ErrConflict) != errors.Is(err, store.ErrConflict) {
		p.t.Fatalf("%s: %v; the model says %v", what, err, model)
	}
}

func (p *pair) create() {
	c, err := session.NewState(session.Info{SessionID: "s1", UserID: "u1"}, session.Policy{}, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	p.both("create", func(s store.Store) error {
		_, err := s.Create(p.ctx, "s1", store.Batch{State: c.State, Events: c.Events}, 0)
		return err
	})
}

// outputs are some events of any length.
func (p *pair) outputs() (out []session.NewEvent) {
	for range rapid.IntRange(1, 12).Draw(p.t, "events") {
		p.said++
		text := strings.Repeat("x", rapid.SampledFrom([]int{1, 10, 300}).Draw(p.t, "size"))
		out = append(out, session.NewEvent{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{
			MessageID: "m1", Kind: "text", Text: numbers(p.said, p.said)[0] + text,
		})})
	}
	return out
}

func (p *pair) append(*rapid.T) {
	b := store.Batch{Events: p.outputs()}
	p.both("append", func(s store.Store) error { _, err := s.Append(p.ctx, "s1", b); return err })
}

func (p *pair) compact(*rapid.T) {
	snap, err := p.stores[1].Load(p.ctx, "s1")
	if err != nil {
		p.t.Fatal(err)
	}
	to := snap.Last - min(snap.Last, rapid.Uint64Range(0, 12).Draw(p.t, "left"))
	each := rapid.IntRange(1, 9).Draw(p.t, "each")
	wrong := rapid.IntRange(0, 7).Draw(p.t, "wrong")
	p.both("compact", func(s store.Store) error {
		c, err := nextStep(p.ctx, s, "s1", to, each)
		if err != nil {
			return err
		}
		switch n := len(c.Entries); {
		case wrong == 1:
			c.After++
		case wrong == 2:
			c.Epoch += "x"
		case wrong == 3 && n > 0:
			c.Entries = c.Entries[1:]
		case wrong == 4 && n > 0:
			c.Entries[n-1].Seq += 13
		}
		return s.Compact(p.ctx, "s1", c)
	})
}

func (p *pair) forget(*rapid.T) {
	b := store.Batch{Events: p.outputs()[:1], Forget: true}
	p.both("forget", func(s store.Store) error {
		snap, err := s.Load(p.ctx, "s1")
		if err != nil {
			return err
		}
		with := b
		with.State, with.Expect = snap.State, snap.Version
		_, err = s.Append(p.ctx, "s1", with)
		return err
	})
}

func (p *pair) anew(*rapid.T) {
	p.both("delete", func(s store.Store) error { return s.Delete(p.ctx, "s1") })
	p.create()
}

// check compares what both have, read from any cursor in pages of any size.
func (p *pair) check(*rapid.T) {
	var snaps [2]store.Snapshot
	for i, s := range p.stores {
		snap, err := s.Load(p.ctx, "s1")
		if err != nil {
			p.t.Fatal(err)
		}
		snaps[i] = snap
	}
	if a, b := snaps[0], snaps[1]; a.First != b.First || a.Last != b.Last || a.Compacted != b.Compacted || a.Version != b.Version {
		p.t.Fatalf("a log from %d to %d, compacted up to %d; the model's is from %d to %d, compacted up to %d",
			a.First, a.Last, a.Compacted, b.First, b.Last, b.Compacted)
	}
	after := rapid.Uint64Range(0, snaps[1].Last+1).Draw(p.t, "after")
	most := rapid.SampledFrom([]int{1, 3, 1000}).Draw(p.t, "most")
	bytes := rapid.SampledFrom([]int{1, 700, 2500, 1 << 20}).Draw(p.t, "bytes")
	var pages [2]store.Page
	for i, s := range p.stores {
		page, err := s.Read(p.ctx, "s1", after, most, bytes)
		if err != nil {
			p.t.Fatal(err)
		}
		pages[i] = page
	}
	a, b := pages[0], pages[1]
	if a.First != b.First || a.Last != b.Last || len(a.Entries) != len(b.Entries) {
		p.t.Fatalf("%d entries after %d of %d to %d; the model has %d of %d to %d",
			len(a.Entries), after, a.First, a.Last, len(b.Entries), b.First, b.Last)
	}
	for i, e := range a.Entries {
		if m := b.Entries[i]; e.From != m.From || e.Seq != m.Seq || e.Type != m.Type || textOf(e) != textOf(m) {
			p.t.Fatalf("entry %d after %d is %s; the model has %s", i, after, e.AppendJSON(nil), m.AppendJSON(nil))
		}
	}
}

// The log is that of the store in memory, whatever is appended, compacted, trimmed and
// forgotten.
func TestCompactionIsThatOfTheModel(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t), "appendfsync no")
	bounds := []store.Retention{{}, {MaxEvents: 9}, {MaxBytes: 3000}, {MaxEvents: 25, MaxBytes: 6000}}
	var stores []*Store
	for _, r := range bounds {
		stores = append(stores, open(t, server.URL(), space(), func(o *Options) { o.Retention = r }))
	}
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(0, len(bounds)-1).Draw(rt, "bounds")
		p := &pair{t: rt, ctx: t.Context(), stores: [2]store.Store{stores[i], mem.New(bounds[i])}}
		if err := stores[i].Delete(p.ctx, "s1"); err != nil { // of the run before
			rt.Fatal(err)
		}
		p.create()
		rt.Repeat(map[string]func(*rapid.T){
			"append": p.append, "append more": p.append, "compact": p.compact, "compact more": p.compact,
			"forget": p.forget, "anew": p.anew, "": p.check,
		})
	})
}

// before runs a script as the version before compaction has it, on the keys that it
// knows.
func before(t *rapid.T, s *Store, name string, args []string) []string {
	text, err := os.ReadFile(filepath.Join("testdata", "before", name))
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := s.keys("s1")
	r := s.client.Do(context.Background(), s.client.B().Eval().Script(string(text)).Numkeys(4).Key(keys[:4]...).Arg(args...).Build())
	out, err := r.AsStrSlice()
	if err != nil {
		t.Fatalf("%s of the version before: %v", name, err)
	}
	return out
}

// After a step back to the version before compaction its nodes see what is compacted
// as trimmed. What they do leaves a log that both versions can use, and that nodes of
// this one read whole as long as it was not trimmed meanwhile.
func TestVersionBeforeCompactionOnCompactedLogs(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t), "appendfsync no")
	bounds := []store.Retention{{}, {MaxEvents: 9}, {MaxBytes: 3000}}
	var stores []*Store
	for _, r := range bounds {
		stores = append(stores, open(t, server.URL(), space(), func(o *Options) { o.Retention = r }))
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := stores[rapid.IntRange(0, len(bounds)-1).Draw(rt, "bounds")]
		p := &pair{t: rt, ctx: t.Context(), stores: [2]store.Store{s, s}}
		if err := s.Delete(p.ctx, "s1"); err != nil {
			rt.Fatal(err)
		}
		benchSession(t, s, "s1")
		var said []string
		outputs := func() store.Batch {
			b := store.Batch{Events: p.outputs()}
			for _, e := range b.Events {
				var d protocol.OutputData
				if err := protocol.Decode(e.Data, &d); err != nil {
					rt.Fatal(err)
				}
				said = append(said, d.Text)
			}
			return b
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				if _, err := s.Append(p.ctx, "s1", outputs()); err != nil {
					rt.Fatal(err)
				}
			},
			"append of the version before": func(rt *rapid.T) { before(rt, s, "append.lua", s.args("append", "", outputs())) },
			"compact": func(rt *rapid.T) {
				c, err := nextStep(p.ctx, s, "s1", never, rapid.IntRange(1, 9).Draw(rt, "each"))
				if err != nil {
					rt.Fatal(err)
				}
				c.Entries = c.Entries[:max(0, len(c.Entries)-rapid.IntRange(0, 3).Draw(rt, "left"))]
				if err := s.Compact(p.ctx, "s1", c); err != nil && len(c.Entries) > 0 {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				text, _, page := logOf(rt, s, "s1")
				if all := strings.Join(said, " "); !strings.HasSuffix(" "+all, strings.TrimSuffix(" "+text, " ")) {
					rt.Fatalf("the log says %q, of %q", text, all)
				}
				if s == stores[0] && page.First != 1 {
					rt.Fatalf("a log without bounds begins at %d", page.First)
				}
				bytesAreRight(rt, server, s, "s1")
				old := before(rt, s, "read.lua", []string{"0", "1000", "1000000"})
				first, _, later := old[1], old[2], old[3:]
				snap, err := s.Load(p.ctx, "s1")
				if err != nil {
					rt.Fatal(err)
				}
				if begin := max(snap.First, snap.Compacted+1); first != numbers(int(begin), int(begin))[0] || len(later) > 0 && later[0] != first {
					rt.Fatalf("the version before reads a log from %s, %.1q; want one from %d", first, later, begin)
				}
			},
		})
	})
}

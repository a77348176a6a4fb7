package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/compact"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/transcript"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

var transcriptFormats = []hub.TranscriptFormat{hub.TranscriptMarkdown, hub.TranscriptJSON}

// transcript reads a whole transcript.
func (w *world) transcript(id string, f hub.TranscriptFormat) string {
	w.t.Helper()
	out, err := readTranscript(w.ctx, w.hub.Transcript(w.load(id), f))
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func readTranscript(ctx context.Context, from *hub.Transcript) (string, error) {
	var out strings.Builder
	for {
		piece, err := from.Next(ctx)
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
		out.Write(piece)
	}
}

// entries reads a log as a store has it.
func (w *world) entries(id string) []protocol.Entry {
	w.t.Helper()
	page, err := w.store.Read(w.ctx, id, 0, 1<<30, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Entries
}

// anything is a log of random events: runs of text and of changes to tools that a
// compaction joins, and what lies between them.
func anything(r *rand.Rand) []session.NewEvent {
	var out []session.NewEvent
	add := func(t protocol.EventType, data string) {
		out = append(out, session.NewEvent{Type: t, Data: json.RawMessage(data)})
	}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	message := func() string { return pick("m1", "m1", "m1", "m2", "m3") }
	piece := func() string {
		return pick(`a`, `b `, ``, "`", "```", `\n`, `\n\n`, `\ud83d`, `\ude00`, `\\ud83d`, `\u001b[3`, `1m`, `\r`, `\u202e`, `<b`, `>`, `data:image/png;base64,`,
			strings.Repeat("A", 70), strings.Repeat("x", 5000), `- `, `![`, `é`, `\u0301`, "1. ")
	}
	for n := 0; n < 300; n++ {
		m := message()
		switch r.IntN(14) {
		case 0, 1, 2, 3:
			kind := pick("text", "text", "thought")
			for range 1 + r.IntN(20) {
				add(protocol.EventOutput, `{"messageId":"`+m+`","text":"`+piece()+`","kind":"`+kind+`"}`)
			}
		case 4, 5, 6:
			id := pick("t1", "t2", "t3")
			for range 1 + r.IntN(5) {
				fields := pick(`"title":"a"`, `"title":""`, `"status":"in_progress"`, `"status":"completed"`, `"status":"pending","output":null`,
					`"input":{"x":"`+piece()+`"}`, `"output":"`+piece()+`"`, `"content":[]`, `"content":[{"type":"content","content":{"type":"text","text":"x"}}]`, `"Title":"b"`)
				add(protocol.EventToolCall, `{"messageId":"`+m+`","toolCallId":"`+id+`",`+fields+`}`)
			}
		case 7:
			add(protocol.EventMessage, `{"messageId":"`+m+`","content":"hi","userId":"u1"}`)
		case 8:
			add(protocol.EventComplete, `{"messageId":"`+m+`","stopReason":"end_turn"}`)
		case 9:
			i := fmt.Sprint("i", r.IntN(4))
			add(protocol.EventToolApproval, `{"messageId":"`+m+`","interactionId":"`+i+`","toolCallId":"t1","title":"t","kind":"k","input":{},"options":[]}`)
		case 10:
			add(protocol.EventApprovalResolved, `{"interactionId":"`+fmt.Sprint("i", r.IntN(4))+`","outcome":"expired"}`)
		case 12:
			i := fmt.Sprint("q", r.IntN(4))
			add(protocol.EventElicitation, `{"messageId":"`+m+`","interactionId":"`+i+`","mode":"form","message":"`+piece()+`","requestedSchema":{"type":"object","properties":{"a":{"type":"string","title":"`+piece()+`"}}}}`)
		case 13:
			add(protocol.EventElicitationResolved, `{"interactionId":"`+fmt.Sprint("q", r.IntN(4))+`","outcome":"accepted","content":{"a":"`+piece()+`"}}`)
		case 11:
			add(protocol.EventPlan, `{"messageId":"`+m+`","entries":[]}`)
		}
	}
	return out
}

// The transcript of a log is that of its compacted form, byte for byte, and also of a log
// that is compacted while it is read.
func TestTranscriptOfACompactedLog(t *testing.T) {
	seeds := uint64(10)
	if judge.Raced {
		seeds = 2
	}
	for seed := range seeds {
		inBubble(t, roomy, func(w *world) {
			r := rand.New(rand.NewPCG(seed, 0))
			id := saying(w)
			for _, e := range anything(r) {
				if _, err := w.store.Append(w.ctx, id, store.Batch{Events: []session.NewEvent{e}}); err != nil {
					w.t.Fatal(err)
				}
				time.Sleep(time.Millisecond) // which ends a run is told by its time
			}
			w.say(id, "last") // it ends the last run
			long := w.entries(id)
			want := map[hub.TranscriptFormat]string{}
			for _, f := range transcriptFormats {
				want[f] = w.transcript(id, f)
			}
			at(10 * time.Minute)
			short := w.entries(id)
			if s := w.load(id); s.Compacted != s.Last || len(short) >= len(long) {
				w.t.Fatalf("seed %d: compacted up to %d of %d", seed, s.Compacted, s.Last)
			}
			for _, f := range transcriptFormats {
				if got := w.transcript(id, f); got != want[f] {
					w.t.Fatalf("seed %d, %s: it differs %s", seed, f, difference(want[f], got))
				}
				for range 5 {
					made := transcript.New(f, transcript.Session{SessionID: id})
					part := r.IntN(len(long))
					for _, e := range append(long[:part:part], short...) { // Event passes over what it has
						made.Event(e)
					}
					made.End(made.Last())
					if got := string(made.Take()); behindHead(got) != behindHead(want[f]) {
						w.t.Fatalf("seed %d, %s, compacted behind %d: it differs %s", seed, f, long[max(part, 1)-1].Seq, difference(behindHead(want[f]), behindHead(got)))
					}
				}
			}
		})
	}
}

// behindHead is a transcript without what it says of the session.
func behindHead(s string) string {
	_, rest, _ := strings.Cut(s, "\n## ")
	if strings.HasPrefix(s, "{") {
		_, rest, _ = strings.Cut(s, `,"entries":`)
	}
	return rest
}

func difference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-200)
	return fmt.Sprintf("behind %q: %q and %q", a[from:i], a[i:min(len(a), i+200)], b[i:min(len(b), i+200)])
}

// So far back a compacted event can reach, and no further.
func TestTranscriptKnowsTheLongestRun(t *testing.T) {
	made := transcript.New(transcript.JSON, transcript.Session{})
	text := strings.Repeat("z", 1000)
	entry := func(from, seq uint64, text string) protocol.Entry {
		data := protocol.Marshal(protocol.OutputData{MessageID: "m", Kind: "text", Text: text})
		return protocol.Entry{From: from, Seq: seq, Type: protocol.EventOutput, Tail: protocol.AppendEventTail(nil, protocol.EventOutput, time.Time{}, data)}
	}
	n := uint64(compact.MaxRunBytes / len(text))
	for seq := uint64(1); seq < n; seq++ {
		made.Event(entry(0, seq, text))
	}
	made.Event(entry(1, n, strings.Repeat(text, int(n))))
	made.End(n)
	if got := strings.Count(string(made.Take()), "z"); got != int(n)*len(text) {
		t.Errorf("%d of %d bytes", got, int(n)*len(text))
	}
}

// lossy is a store whose log changes between two pages.
type lossy struct {
	store.Store
	reads int
	read  func(n int, page store.Page, err error) (store.Page, error)
}

func (l *lossy) Read(ctx context.Context, id string, after uint64, events, bytes int) (store.Page, error) {
	page, err := l.Store.Read(ctx, id, after, events, bytes)
	l.reads++
	return l.read(l.reads, page, err)
}

// What is lost while a transcript is read is named, and what cannot be named ends it.
func TestTranscriptOfALogThatChanges(t *testing.T) {
	broken := errors.New("the store is away")
	for name, c := range map[string]struct {
		read func(n int, page store.Page, err error) (store.Page, error)
		err  error
		has  string
	}{
		"trimmed": {func(n int, page store.Page, err error) (store.Page, error) {
			if n == 2 {
				page.Entries = page.Entries[7:]
			}
			return page, err
		}, nil, "*Events 1001 to 1007 are not kept (trimmed).*"},
		"trimmed up to its end": {func(n int, page store.Page, err error) (store.Page, error) {
			if n == 2 {
				page.Entries = nil
			}
			return page, err
		}, nil, "*Events 1001 to 1504 are not kept (trimmed).*"},
		"another epoch": {func(n int, page store.Page, err error) (store.Page, error) {
			if n == 2 {
				page.Epoch = "other"
			}
			return page, err
		}, hub.ErrUnavailable, ""},
		"deleted": {func(n int, page store.Page, err error) (store.Page, error) {
			if n == 2 {
				return store.Page{}, hub.ErrNotFound
			}
			return page, err
		}, hub.ErrNotFound, ""},
		"away": {func(n int, page store.Page, err error) (store.Page, error) {
			if n == 2 {
				return store.Page{}, broken
			}
			return page, err
		}, broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, roomy, func(w *world) {
				id := saying(w)
				w.pieces(id, 1500)
				w.say(id, "m2")
				seen := &lossy{Store: w.store, read: c.read}
				other := newWorldOn(t, w.store, seen)
				got, err := readTranscript(w.ctx, other.hub.Transcript(w.load(id), hub.TranscriptMarkdown))
				other.stop()
				if !errors.Is(err, c.err) || !strings.Contains(got, c.has) {
					t.Errorf("%v, want %v: %s", err, c.err, got)
				}
			})
		})
	}
}

// A transcript ends where its session's log ended when it was asked for, however long the
// agent goes on. It holds a page, and not the log.
func TestTranscriptEndsAndIsSmall(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		id := saying(w)
		for range 40 {
			w.append(id, strings.Repeat("y", 100<<10))
		}
		from := w.hub.Transcript(w.load(id), hub.TranscriptJSON)
		total, most := 0, 0
		for {
			piece, err := from.Next(w.ctx)
			if err == io.EOF {
				break
			}
			if err != nil {
				w.t.Fatal(err)
			}
			total, most = total+len(piece), max(most, len(piece))
			w.append(id, "later")
		}
		if total < 40*100<<10 || most > 400<<10 {
			w.t.Errorf("%d bytes in pieces of up to %d", total, most)
		}
	})
}

package storetest

import (
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// logs reads event logs for the suite.
type logs struct{ *ground }

func (l logs) read(id string, after uint64, maxEvents, maxBytes int) store.Page {
	l.Helper()
	p, err := l.store.Read(l.ctx, id, after, maxEvents, maxBytes)
	if err != nil {
		l.Fatalf("read %s after %d: %v", id, after, err)
	}
	return p
}

// all reads the whole log in one page.
func (l logs) all(id string) store.Page { l.Helper(); return l.read(id, 0, 1<<20, 1<<30) }

// decode reads an entry as a client does.
func (l logs) decode(e protocol.Entry) protocol.Event {
	l.Helper()
	var out protocol.Event
	if err := protocol.Decode(e.AppendJSON(nil), &out); err != nil {
		l.Fatalf("entry %d is no event: %v: %s", e.Seq, err, e.AppendJSON(nil))
	}
	if out.Seq != e.Seq || out.Type != e.Type {
		l.Fatalf("entry %d %s says it is %d %s", e.Seq, e.Type, out.Seq, out.Type)
	}
	return out
}

func (l logs) text(e protocol.Entry) string {
	l.Helper()
	var d protocol.OutputData
	if err := protocol.Decode(l.decode(e).Data, &d); err != nil {
		l.Fatal(err)
	}
	return d.Text
}

// contiguous fails unless the entries follow each other, and lie between after and the
// page's end.
func (l logs) contiguous(p store.Page, after uint64) {
	l.Helper()
	for i, e := range p.Entries {
		if i > 0 && e.First() != p.Entries[i-1].Seq+1 {
			l.Fatalf("entry %d comes after %d", e.First(), p.Entries[i-1].Seq)
		}
		if e.Seq <= after || e.Seq > p.Last || e.First() < p.First && e.From == 0 {
			l.Fatalf("entry %d in a page after %d of a log from %d to %d", e.Seq, after, p.First, p.Last)
		}
	}
}

package hub

import (
	"context"
	"fmt"
	"io"

	"sessionhub/hub/store"
	"sessionhub/hub/transcript"
)

// Bounds of one page that a transcript reads. A slow reader of a transcript holds one
// page in memory.
const (
	transcriptPageEvents = 1000
	transcriptPageBytes  = 256 << 10
)

// Transcript is the people's form of a session, made while it is read. It belongs to one
// goroutine, and nothing has to be closed.
type Transcript struct {
	store store.Reader
	id    string
	maker *transcript.Maker
	epoch string // of the first page
	last  uint64 // its last event: later ones are not in it
	over  bool
}

// Transcript begins the transcript of a session, up to the last event of the snapshot.
func (h *Hub) Transcript(snap store.Snapshot, f transcript.Format) *Transcript {
	info := snap.State.Info
	return &Transcript{store: h.store, id: info.SessionID, last: snap.Last, maker: transcript.New(f, transcript.Session{
		SessionID: info.SessionID, UserID: info.UserID, Title: snap.State.Title(), Provider: info.Provider,
		WorkingDirectory: info.WorkingDirectory, CreatedAt: info.CreatedAt,
	})}
}

// Next gives the next piece, which is valid until the next call. It gives io.EOF after
// the last one. Any other error means that the transcript is incomplete: ErrNotFound, or
// ErrUnavailable. ErrUnavailable also says that the log has gone on in another epoch
// meanwhile.
func (t *Transcript) Next(ctx context.Context) ([]byte, error) {
	for !t.over {
		page, err := t.store.Read(ctx, t.id, t.maker.Last(), transcriptPageEvents, transcriptPageBytes)
		if err != nil {
			return nil, err
		}
		if t.epoch == "" {
			t.epoch = page.Epoch
		}
		if page.Epoch != t.epoch {
			return nil, fmt.Errorf("%w: the log of %s has gone on in another epoch", store.ErrUnavailable, t.id)
		}
		for _, e := range page.Entries {
			if e.First() > t.last {
				break
			}
			t.maker.Event(e)
		}
		if n := len(page.Entries); n == 0 || page.Entries[n-1].Seq >= t.last {
			t.maker.End(t.last)
			t.over = true
		}
		if out := t.maker.Take(); len(out) > 0 {
			return out, nil
		}
	}
	return nil, io.EOF
}

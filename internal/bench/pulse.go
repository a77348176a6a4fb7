package bench

import (
	"errors"
	"os"
	"time"
)

// lateAfter is the longest silence that is none: a hub sends a heartbeat after
// 15 s in which it had nothing else to send, and looks once a second who needs
// one. The rest is for a busy machine.
const lateAfter = 20 * time.Second

// pulse watches a stream for heartbeats that fail to come. Bytes of any kind
// count as one. It belongs to the stream's reader, then to who has waited for it.
type pulse struct {
	heard   time.Time
	beats   uint64 // pings and comments
	late    uint64 // silences of more than lateAfter
	longest time.Duration
}

// hear takes note of bytes that came now.
func (p *pulse) hear(now time.Time) {
	if !p.heard.IsZero() {
		p.silence(now.Sub(p.heard))
	}
	p.heard = now
}

// end takes note of the silence between the last bytes and the end.
func (p *pulse) end(now time.Time) {
	if !p.heard.IsZero() {
		p.silence(now.Sub(p.heard))
	}
}

func (p *pulse) silence(d time.Duration) {
	p.longest = max(p.longest, d)
	if d > lateAfter {
		p.late++
	}
}

// Heartbeats is how the streams' heartbeats came.
type Heartbeats struct {
	Heard          uint64  `json:"heard"` // pings and comments
	Late           uint64  `json:"late"`  // silences of more than 20 s
	LongestSeconds float64 `json:"longestSilenceSeconds"`
}

func (h *Heartbeats) add(o Heartbeats) {
	h.Heard += o.Heard
	h.Late += o.Late
	h.LongestSeconds = max(h.LongestSeconds, o.LongestSeconds)
}

// heartbeats sums the streams' pulses; the swarm is closed. A stream that ended
// before its time is counted as dropped, and not as silent too.
func (w *swarm) heartbeats() Heartbeats {
	var sum Heartbeats
	for _, s := range w.subs {
		p := s.pulse
		if s.gone() {
			continue
		}
		p.end(w.ended)
		sum.add(Heartbeats{Heard: p.beats, Late: p.late, LongestSeconds: p.longest.Seconds()})
	}
	for _, c := range w.carriers {
		if p := c.pulse; c.ended == nil || errors.Is(c.ended, os.ErrDeadlineExceeded) {
			p.end(w.ended)
			sum.add(Heartbeats{Heard: p.beats, Late: p.late, LongestSeconds: p.longest.Seconds()})
		}
	}
	return sum
}

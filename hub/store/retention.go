package store

// Retention bounds each session's event log. A store drops the oldest events first; the
// last event always stays. 0 means no bound. Both bounds count what is stored: a compacted
// event counts as one.
type Retention struct {
	MaxEvents int
	MaxBytes  int64 // of the events by protocol.Entry.JSONLen
}

// Exceeded reports whether a log of so many events and bytes must lose its oldest event.
func (r Retention) Exceeded(events int, bytes int64) bool {
	return events > 1 && (r.MaxEvents > 0 && events > r.MaxEvents || r.MaxBytes > 0 && bytes > r.MaxBytes)
}

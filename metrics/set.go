// Package metrics holds what sessionhub counts for its operators (Prometheus, prefix
// sessionhub_). A Set counts what happens. RegisterGauges reports present values, which
// their owner gives at each scrape. All names, labels and label values are fixed here.
// Every series exists at zero from the start, so an alert on a rate works for the first
// event too.
package metrics

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sessionhub/protocol"
)

const namespace = "sessionhub"

// Buckets in seconds. A delivery takes tens of microseconds. One that takes seconds has
// waited for a slow reader.
var (
	fastBuckets  = [...]float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	turnBuckets  = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
	humanBuckets = []float64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600}
	lifeBuckets  = []float64{.1, 1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600}
)

// Build names the program that is running.
type Build struct {
	Version string
}

// Set counts what happens on a node. All methods and fields may be used concurrently.
// Nothing here blocks, and the methods that run for each event look up no map. A value
// outside a closed set is not counted, since it must never become a label. An unknown
// provider counts as "other".
type Set struct {
	AppendSeconds prometheus.Observer // time that the store took for an append
	RelaySeconds  prometheus.Observer // from an append to its arrival on another node; a store within one process has none
	ApprovalWait  prometheus.Observer // seconds from the question to its end
	SlowClosed    prometheus.Counter  // subscribers cut because they took nothing
	WorkerLost    prometheus.Counter  // workers whose lease ran out
	StoreUp       prometheus.Gauge    // 1 while the store answers
	Draining      prometheus.Gauge    // 1 while this node drains
	FeedReaders   prometheus.Gauge    // readers of lists of sessions
	FeedRefreshes prometheus.Counter  // sessions that were read again for them

	streams  [transports]stream
	delivery prometheus.Observer

	started    time.Time
	deliveries deliveryCounts

	resumed, gapped prometheus.Counter

	created     map[string]prometheus.Counter
	turns       map[string]map[string]prometheus.Counter // provider, stop reason
	turnSeconds map[string]prometheus.Observer
	ended       map[string]prometheus.Counter
	appended    map[protocol.EventType]prometheus.Counter
	compacted   prometheus.Counter
	gaps        map[string]prometheus.Counter
	commands    map[protocol.CommandType]map[CommandResult]prometheus.Counter
	limits      map[Limit]prometheus.Counter
	auth        map[AuthFailure]prometheus.Counter
	storeErrors map[string]prometheus.Counter
	usage       usage
	requests    requests
}

// stream holds the counters of one transport.
type stream struct {
	open prometheus.Gauge
	// subscriptions are of the channels among the connections.
	subscriptions prometheus.Gauge
	opened        prometheus.Counter
	seconds       prometheus.Observer
	events        prometheus.Counter
	bytes         prometheus.Counter
	closed        map[CloseReason]prometheus.Counter
	rejected      map[protocol.Code]prometheus.Counter
}

// New registers everything on reg and returns the Set. providers are the names that get
// series of their own. New panics if reg already holds one of the names.
func New(reg prometheus.Registerer, build Build, providers []string) *Set {
	f := factory{promauto.With(reg)}
	s := &Set{
		started: time.Now(),

		AppendSeconds: f.histogram("append_seconds", "Time the store took to append a batch.", fastBuckets[:]).WithLabelValues(),
		RelaySeconds:  f.histogram("relay_seconds", "Time from an event's append to its arrival on another node that has a subscriber.", fastBuckets[:]).WithLabelValues(),
		ApprovalWait:  f.histogram("approval_wait_seconds", "Time from a question of an agent to its answer, cancellation or expiry.", humanBuckets).WithLabelValues(),
		SlowClosed:    f.counter("slow_subscribers_closed_total", "Subscribers that were closed because they took nothing for too long.").WithLabelValues(),
		WorkerLost:    f.counter("worker_lost_total", "Workers that were gone for longer than their lease.").WithLabelValues(),
		StoreUp:       f.gauge("store_up", "1 while the store answers this node.").WithLabelValues(),
		Draining:      f.gauge("draining", "1 while this node drains.").WithLabelValues(),
		FeedReaders:   f.gauge("feed_readers", "Connections of this node that follow a user's list of sessions.").WithLabelValues(),
		FeedRefreshes: f.counter("feed_refreshes_total", "Sessions that were read again because a list that is followed had changed.").WithLabelValues(),
		delivery:      f.histogram("delivery_seconds", "Time from an event's arrival on this node to its write to a live subscriber's socket.", fastBuckets[:]).WithLabelValues(),

		created:     map[string]prometheus.Counter{},
		turns:       map[string]map[string]prometheus.Counter{},
		turnSeconds: map[string]prometheus.Observer{},
		commands:    map[protocol.CommandType]map[CommandResult]prometheus.Counter{},

		ended:       resolve(f.counter("sessions_ended_total", "Sessions that ended.", "reason"), EndReasons),
		appended:    resolve(f.counter("events_appended_total", "Events appended to logs.", "type"), protocol.EventTypes),
		compacted:   f.counter("events_compacted_total", "Events that went into a compacted one.").WithLabelValues(),
		gaps:        resolve(f.counter("gaps_total", "Gap frames sent to subscribers.", "reason"), protocol.GapReasons),
		limits:      resolve(f.counter("limit_rejections_total", "Requests, connections and messages refused by a limit.", "limit"), Limits),
		auth:        resolve(f.counter("auth_failures_total", "Requests refused for their credential, Origin or Host.", "reason"), AuthFailures),
		storeErrors: resolve(f.counter("store_errors_total", "Calls of the store that failed.", "op"), StoreOps),
	}
	s.newStreams(f)
	s.newProviders(f, providers)
	s.usage = newUsage(f, withOther(providers))
	s.requests = newRequests(f)

	resumes := resolve(f.counter("resumes_total", "Streams that began at a cursor, and whether all after it could be given.", "result"),
		[]string{resumeComplete, resumeGap})
	s.resumed, s.gapped = resumes[resumeComplete], resumes[resumeGap]

	commands := f.counter("commands_total", "Commands of clients, over WebSocket or HTTP.", "type", "result")
	for _, t := range append(slices.Clone(protocol.CommandTypes), protocol.CommandSubscribe, protocol.CommandUnsubscribe) {
		s.commands[t] = resolve(commands.MustCurryWith(prometheus.Labels{"type": string(t)}), CommandResults)
	}
	f.gauge("build_info", "1, labelled with this program's version.", "version", "goversion").
		WithLabelValues(build.Version, runtime.Version()).Set(1)
	return s
}

func (s *Set) newStreams(f factory) {
	open := f.gauge("connections", "Open connections of this node.", "transport")
	subscriptions := f.gauge("subscriptions", "Sessions that the open connections for many sessions are subscribed to.", "transport")
	opened := f.counter("connections_opened_total", "Connections that were opened.", "transport")
	closed := f.counter("connections_closed_total", "Connections that ended.", "transport", "reason")
	seconds := f.histogram("connection_duration_seconds", "How long connections were open.", lifeBuckets, "transport")
	rejected := f.counter("connections_rejected_total", "Connections refused before they opened, by error code.", "transport", "reason")
	events := f.counter("events_delivered_total", "Events written to subscribers.", "transport")
	bytes := f.counter("bytes_delivered_total", "Bytes written to subscribers, control frames included.", "transport")
	for _, t := range Transports {
		label := prometheus.Labels{"transport": t.String()}
		s.streams[t] = stream{
			open:          open.With(label),
			subscriptions: subscriptions.With(label),
			opened:        opened.With(label),
			seconds:       seconds.With(label),
			events:        events.With(label),
			bytes:         bytes.With(label),
			closed:        resolve(closed.MustCurryWith(label), CloseReasons),
			rejected:      resolve(rejected.MustCurryWith(label), RejectReasons),
		}
	}
}

func (s *Set) newProviders(f factory, providers []string) {
	created := f.counter("sessions_created_total", "Sessions that were created.", "provider")
	turns := f.counter("turns_total", "Messages that were completed, each once.", "provider", "stop_reason")
	seconds := f.histogram("turn_seconds", "Time from a turn's start to its end.", turnBuckets, "provider")
	for _, p := range withOther(providers) {
		label := prometheus.Labels{"provider": p}
		s.created[p] = created.With(label)
		s.turns[p] = resolve(turns.MustCurryWith(label), protocol.StopReasons)
		s.turnSeconds[p] = seconds.With(label)
	}
}

// withOther returns the closed set of the provider label.
func withOther(providers []string) []string {
	all := append(slices.Clone(providers), ProviderOther)
	slices.Sort(all)
	return slices.Compact(all)
}

// StreamOpened counts a connection.
func (s *Set) StreamOpened(t Transport) {
	s.streams[t].open.Inc()
	s.streams[t].opened.Inc()
}

// Subscribed counts a subscription of a channel, and Unsubscribed its end.
func (s *Set) Subscribed(t Transport) { s.streams[t].subscriptions.Inc() }

// Unsubscribed is above.
func (s *Set) Unsubscribed(t Transport) { s.streams[t].subscriptions.Dec() }

// Resumed counts the beginning of a reader of a log. behind says that it began at a cursor
// behind an event. gap says that some events after the cursor could not be given.
func (s *Set) Resumed(behind, gap bool) {
	switch {
	case gap:
		s.gapped.Inc()
	case behind:
		s.resumed.Inc()
	}
}

// StreamClosed counts the end of a connection that StreamOpened counted.
func (s *Set) StreamClosed(t Transport, reason CloseReason, open time.Duration) {
	// The gauge comes last: a reader that sees it fall finds the end counted.
	inc(s.streams[t].closed, reason)
	s.streams[t].seconds.Observe(open.Seconds())
	s.streams[t].open.Dec()
}

// StreamRejected counts a connection that was refused before it opened.
func (s *Set) StreamRejected(t Transport, code protocol.Code) {
	inc(s.streams[t].rejected, code)
}

// Delivered counts one write to a subscriber, with its number of events and bytes. arrived
// is when the first of the events arrived on this node, in Unix nanoseconds. It is 0 for a
// replay, whose delay says nothing.
func (s *Set) Delivered(t Transport, events uint64, bytes int, arrived int64) {
	s.streams[t].bytes.Add(float64(bytes))
	if events == 0 {
		return
	}
	s.streams[t].events.Add(float64(events))
	if arrived != 0 {
		// The clock can be set back: a delay is never negative.
		seconds := max(0, time.Duration(time.Now().UnixNano()-arrived)).Seconds()
		s.delivery.Observe(seconds)
		s.deliveries.observe(seconds)
	}
}

// EventAppended counts an event of a log.
func (s *Set) EventAppended(t protocol.EventType) { inc(s.appended, t) }

// Compacted counts events of a log that were replaced by compacted ones.
func (s *Set) Compacted(events int) { s.compacted.Add(float64(events)) }

// SessionCreated counts a session.
func (s *Set) SessionCreated(provider string) { s.created[known(s.created, provider)].Inc() }

// SessionEnded counts a session's end by the reason of its closed event.
func (s *Set) SessionEnded(reason string) { inc(s.ended, reason) }

// TurnEnded counts a completed message, also one that never ran.
func (s *Set) TurnEnded(provider, stopReason string) {
	inc(s.turns[known(s.turns, provider)], stopReason)
}

// TurnSeconds observes how long a message ran.
func (s *Set) TurnSeconds(provider string, d time.Duration) {
	s.turnSeconds[known(s.turnSeconds, provider)].Observe(d.Seconds())
}

// Gap counts a gap frame.
func (s *Set) Gap(reason string) { inc(s.gaps, reason) }

// Command counts a client's command by the code of its answer ("": no error).
func (s *Set) Command(t protocol.CommandType, code protocol.Code) {
	inc(s.commands[t], ResultOf(code))
}

// LimitRejected counts a refusal by a limit.
func (s *Set) LimitRejected(l Limit) { inc(s.limits, l) }

// AuthFailed counts a refused credential.
func (s *Set) AuthFailed(reason AuthFailure) { inc(s.auth, reason) }

// StoreFailed counts a failed call of the store. Answers such as "not found" or "conflict"
// are no failures.
func (s *Set) StoreFailed(op string) { inc(s.storeErrors, op) }

func inc[K comparable](m map[K]prometheus.Counter, key K) {
	if c, ok := m[key]; ok {
		c.Inc()
	}
}

// known returns the label value for a provider.
func known[V any](m map[string]V, name string) string {
	if _, ok := m[name]; ok {
		return name
	}
	return ProviderOther
}

// resolve makes the series for each value of a counter's last label.
func resolve[K ~string](v *prometheus.CounterVec, values []K) map[K]prometheus.Counter {
	m := make(map[K]prometheus.Counter, len(values))
	for _, k := range values {
		m[k] = v.WithLabelValues(string(k))
	}
	return m
}

// factory makes and registers vectors under our prefix. A vector without
// labels has one series; WithLabelValues() makes it.
type factory struct{ promauto.Factory }

func (f factory) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return f.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (f factory) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (f factory) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return f.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

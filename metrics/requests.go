package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/protocol"
)

// RequestResult says how a request to a worker ended.
type RequestResult string

const (
	RequestOK       RequestResult = "ok"          // answered
	RequestRefused  RequestResult = "refused"     // the worker refused it: no such file, a path that is not allowed
	RequestBusy     RequestResult = "busy"        // the worker, the node or the user had as many as there may be
	RequestNoWorker RequestResult = "no_worker"   // no worker was there, or its link ended
	RequestTimeout  RequestResult = "timeout"     // there was no answer in time
	RequestFailed   RequestResult = "failed"      // the worker failed, or its answer cannot be read
	RequestUnsent   RequestResult = "unavailable" // the store could not be reached, or the caller left
)

// RequestResults lists every result.
var RequestResults = []RequestResult{
	RequestOK, RequestRefused, RequestBusy, RequestNoWorker, RequestTimeout, RequestFailed, RequestUnsent,
}

// requestBuckets end at protocol.WorkerRequestSeconds.
var requestBuckets = []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}

// requests count the requests to workers.
type requests struct {
	results map[protocol.WorkerMethod]map[RequestResult]prometheus.Counter
	seconds map[protocol.WorkerMethod]prometheus.Observer
}

func newRequests(f factory) requests {
	r := requests{map[protocol.WorkerMethod]map[RequestResult]prometheus.Counter{}, map[protocol.WorkerMethod]prometheus.Observer{}}
	results := f.counter("worker_requests_total", "Requests to workers, for files, changes and the like, by their end.", "method", "result")
	seconds := f.histogram("worker_request_seconds", "Time that a request to a worker took, whatever its end.", requestBuckets, "method")
	for _, m := range protocol.WorkerMethods {
		label := prometheus.Labels{"method": string(m)}
		r.results[m] = resolve(results.MustCurryWith(label), RequestResults)
		r.seconds[m] = seconds.With(label)
	}
	return r
}

// WorkerRequest counts a request to a worker on the node that asked.
func (s *Set) WorkerRequest(m protocol.WorkerMethod, result RequestResult, took time.Duration) {
	if seconds, known := s.requests.seconds[m]; known {
		inc(s.requests.results[m], result)
		seconds.Observe(took.Seconds())
	}
}

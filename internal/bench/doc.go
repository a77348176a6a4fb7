// Package bench puts load on a hub and measures what it costs: subscribers over
// WebSocket or SSE read the event logs of sessions, whose events come from a
// worker. It counts each event at each subscriber, so a figure of a run in which
// one was lost, repeated or out of order is known to be worthless.
//
// The subscribers are bare sockets that read no more of a frame than its
// number: the load generator shall cost little beside the hub. Each has one
// goroutine and, while nothing arrives, no buffer.
//
// What is sturdy on a shared machine is the CPU time of the hub for each
// delivered event, and its memory for each connection. Throughput and latency
// are those of the machine with everything else that it does.
package bench

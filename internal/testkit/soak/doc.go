// Package soak runs many sessions through a hub while parts of it are broken on
// purpose, and holds every client's record to the promises: each event once and
// in order, one complete for each message, every question answered once, no
// session stuck when the faults are over.
//
// It looks from outside only: HTTP, WebSocket, SSE, processes and signals. So it
// serves for one node and for many; the caller brings the programs, and the
// faults that its setting has. The readers here are not those of package client,
// which drops a repeat in silence: here a repeat is a finding.
package soak

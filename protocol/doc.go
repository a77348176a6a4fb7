// Package protocol holds everything that sessionhub sends over a wire:
//
//   - the events of a session's log and the control frames around them,
//   - the commands of clients,
//   - the frames of the worker link,
//   - the bodies of the HTTP API, the error codes and the close codes.
//
// The package knows how messages are written, and nothing about their senders. It imports
// the standard library only, so any Go program can speak sessionhub by importing it.
//
// Every message has a golden file in testdata. Readers ignore unknown fields and pass on
// unknown event types, so that older readers understand newer writers.
package protocol

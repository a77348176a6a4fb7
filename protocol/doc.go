// Package protocol holds every word that sessionhub says over a wire: the
// events of a session's log, the control frames around them, the commands of
// clients, the frames of the worker link, the bodies of the HTTP API, the error
// codes and the close codes. It knows how they are written, and nothing about
// who sends them: it imports the standard library only, so that any program in
// Go can speak sessionhub by importing it.
//
// Every message has a golden file in testdata. Unknown fields are ignored and
// unknown event types are passed on, so that older readers live with newer
// writers.
package protocol

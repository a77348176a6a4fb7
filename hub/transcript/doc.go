// Package transcript makes a form of a session for people from the events of its log:
// Markdown for a ticket, or JSON with a small schema (docs/openapi.yaml, Transcript).
//
// It is pure: events go in, bytes come out. A log gives the same bytes whether it was
// compacted or not. docs/PROTOCOL.md, "The transcript", says what readers see.
//
// The entries of a turn stand together, although a message can be logged while another
// turn runs. A tool and a question stand where they ended, so that their outcome is known.
// Entries that have not ended are held back: at most maxHeld bytes for a log of any length.
package transcript

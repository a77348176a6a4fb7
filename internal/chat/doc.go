// Package chat is the terminal client of a hub: `sessionhub chat`.
//
// Where stdin and stdout are a terminal it is a conversation: what is said
// scrolls, and below it lies a live region (the line that is being written, the
// tools that run, the plan, the question that waits, the state of the
// connection, the line that is typed) which is drawn again with each change. One
// goroutine owns all of that; beside it run one that reads keys, one that reads
// the stream, and one for each command that is under way, all waited for.
//
// Elsewhere stdin is one message: the answer goes to stdout, all else to stderr.
//
// What an agent writes is not trusted: internal/text decides how it is shown, so
// that no text can move the cursor, change the title, fill the clipboard or play
// another line than the one that is there.
//
// Nobody allows what was not shown. One question is asked at a time, the one that
// has waited longest. It is shown whole, in pages, and what allows it is offered at
// its end. A key answers the question that it was pressed for, or none.
package chat

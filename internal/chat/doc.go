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
// What an agent writes is not trusted: control characters are made visible before
// they reach a terminal, so that no text can move the cursor, change the title,
// fill the clipboard or play another line than the one that is there.
package chat

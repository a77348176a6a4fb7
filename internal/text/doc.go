// Package text decides how text of strangers is shown: of agents, of the
// programs they run, of other users. docs/TEXT.md has the table, and says what
// each kind of character becomes. web/dashboard/src/text.ts decides the same for
// pages, and testdata/cases.json holds both to it.
//
// The event log keeps what was said. Only what is shown is changed:
//
//	Prose      what an agent writes, with its line breaks
//	Output     what a program printed: a progress line is its last state
//	Line       a title, a name, an error: prose on one line
//	Exact      what somebody decides on: nothing in it is invisible, and nothing
//	           looks like something else
//	ExactLine  the same on one line
//	Typed      what a person typed or pasted: prose of which nothing is left out
//	JSON       JSON that means the same and that a terminal cannot obey
//
// None of them lets an escape sequence of a stranger through. Its functions may
// be called concurrently.
package text

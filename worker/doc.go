// Package worker runs agents for a hub. It is the worker's end of the worker link, and the
// client's end of ACP, the Agent Client Protocol, over stdio.
//
// # Flow
//
//	hub <--link--> Worker <--commands, outbox--> session <--lines--> agent (a process)
//
// A Worker has one link at a time. For each assigned session it has a session with a
// runner. The runner starts an agent process with the first message and prompts it. It maps
// the agent's lines to events. It gives the session back when the agent was idle for long.
// The events wait in the session's outbox until the hub has acknowledged them. A new link
// gets all that are left.
//
// # Goroutines
//
//	Run (the caller's)       the link's reader: assignments, commands, acknowledgements
//	  writeFrames            the link's writer: goes round the outboxes; ends with the link
//	session.run              one for each session: owns its state; ended by Close, revoke or release
//	  agent.run              one for each agent: owns the process, reads its stdout
//	    write, stderr, stop  one each; ended with the process
//
// Each goroutine waits for those below it. A runner never waits for its agent, for the hub
// or for the disk's processes. So it handles every command at once, also a revoke.
//
// # Order
//
// The worker handles an agent's lines one after the other, in the order in which the agent
// wrote them: notifications, requests and responses alike. Events leave in the order in
// which they were made. done and release leave after the events before them.
//
// # Bounds
//
//	an agent's line      32 MiB; a longer one ends the agent
//	an event's data      Config.MaxEventBytes; text is split, other data is cut with a mark
//	a session's outbox   Config.BufferBytes; when it is full, the agent's stdout is not read
//	an agent's stdin     1 MiB; when it is full, the agent's stdout is not read, and
//	                     an agent that does not read for Config.ReadGrace is stopped
//	open permissions     64 and 4 MiB in a turn; more are refused
//	a session's commands 64; then the link's reader waits for the runner
//
// The worker drops nothing: a hub that does not read holds the agents by their own pipes.
// Two things can be lost. One is events that are unacknowledged when Close is called. The
// other is the agent's replay of a loaded session, which the event log has already.
package worker

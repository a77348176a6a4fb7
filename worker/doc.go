// Package worker runs agents for a hub: it is the worker's end of the worker link
// and the client's end of ACP, the Agent Client Protocol, over stdio.
//
// # Flow
//
//	hub <--link--> Worker <--commands, outbox--> session <--lines--> agent (a process)
//
// A Worker has one link at a time. The hub assigns sessions; each gets a session,
// whose runner starts an agent process with the first message, prompts it, maps
// what it says to events, and gives the session back when the agent was idle for
// long. The events wait in the session's outbox until the hub has acknowledged
// them; a new link gets all that is left.
//
// # Goroutines
//
//	Run (the caller's)       the link's reader: assignments, commands, acknowledgements
//	  writeFrames            the link's writer: goes round the outboxes; ends with the link
//	session.run              one for each session: owns its state; ended by Close, revoke or release
//	  agent.run              one for each agent: owns the process, reads its stdout
//	    write, stderr, stop  one each; ended with the process
//
// Each waits for those below it. A runner never waits for its agent, for the hub or
// for the disk's processes, so every command, also a revoke, is handled at once.
//
// # Order
//
// An agent's lines are handled one after the other, in the order in which it wrote
// them, whether they are notifications, requests or responses. Events leave in the
// order in which they were made, and done and release after the events before them.
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
// Nothing is dropped: a hub that does not read holds the agents by their own pipes.
// What can be lost is what Close finds unacknowledged, and the agent's replay of a
// loaded session, which the event log has already.
package worker

// Package processtree runs an agent so that nothing it started outlives it: not
// on Close, not after a crash of the agent, not on SIGTERM to the hub and not
// after a kill -9 of the hub.
//
// On Linux the agent runs below a supervisor of its own, which is the hub's
// binary started again with a hidden subcommand (see [SuperviseMain]):
//
//	hub ──control socket── supervisor (own session, PR_SET_CHILD_SUBREAPER)
//	 └──stdin/stdout/stderr────── agent ── tools ── their children ...
//
// The three pipes run straight from the hub to the agent; the supervisor copies
// nothing. Its control socket is the lifeline: when the hub closes it, or is
// gone, the supervisor ends all that is below it, with SIGTERM and, after the
// grace time, SIGKILL. Because it is a subreaper every orphan becomes its child,
// so double forks and new sessions do not get away, and "no child is left"
// (ECHILD) proves that the whole tree is gone. When the agent ends by itself, its
// exit is told at once ([Process.Exited]), and what it left behind is ended in the
// same way ([Process.Done]).
//
// Two more nets hang below. An agent gets SIGKILL when its supervisor dies
// (PR_SET_PDEATHSIG). And the tree carries a random mark in its environment, by
// which a living hub finds what is left of a tree whose supervisor was killed.
// A supervisor that does not answer (SIGSTOP) is killed by the hub together with
// everything below it.
//
// What is not covered on Linux:
//   - the hub and a supervisor killed with SIGKILL at the same moment: the agent
//     dies, its children may stay. The supervisor's process name is not the
//     hub's, so that a kill by process name does not hit both; one by command
//     line does.
//   - a supervisor that is frozen while the hub is killed: it acts when it runs on.
//   - work that a service outside of the tree does for the agent: a container
//     daemon, systemd-run, cron, at.
//   - processes which the hub's user may not signal (setuid programs). The
//     supervisor goes on trying, and Stop says so with an error.
//
// On other Unix systems there is no supervisor: the agent leads a process group,
// which Stop signals. A child that leaves the group, and everything after a
// kill -9 of the hub except the end of stdin, is not covered there.
package processtree

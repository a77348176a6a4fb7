package protocol

// Limits of what a worker may send. docs/WORKERS.md publishes them. Text is in bytes of
// UTF-8.
const (
	MaxNameBytes      = 256  // a worker, its version, a provider, a session's id, a kind, a code
	MaxWorkspaceBytes = 4096 // a worker's workspace
	MaxMessageIDBytes = 128  // a message's id, which is printable ASCII
	MaxToolIDBytes    = 1024 // a toolCallId, which is the agent's
	MaxOptionName     = 1024 // the name of an option, in bytes
	MaxReasonBytes    = 4096 // the detail of a status; a longer one is cut

	MaxCapacity      = 1_000_000 // agents at once
	MaxProviders     = 256       // that one worker offers
	MaxHelloSessions = 10_000    // that one hello names, as far as a frame has room

	MaxDetailsBytes        = 64 << 10 // the details of one hello, as JSON
	MaxProviderTitle       = 128
	MaxProviderDescription = 1024
	MaxProviderIcon        = 8 << 10
	MaxProviderModes       = 64 // names in a list of modes

	// MaxAgentSessionBytes is the longest id that an agent may give its session. It
	// has no control characters.
	MaxAgentSessionBytes = 256

	// MaxDataDepth is how deeply an event's data may be nested. It is MaxDepth less the
	// levels around the data, which are most in a page of history.
	MaxDataDepth = MaxDepth - 10
)

// Limits of the questions of one session, and of the "always" rules that their answers
// make. Questions and rules are in the session's state, which each change stores anew.
const (
	MaxApprovalOptions   = 64      // of one question
	MaxOpenApprovals     = 64      // open at once
	MaxOpenApprovalBytes = 4 << 20 // data of all open ones; one alone may be larger
	MaxRules             = 256     // then the rule that has matched nothing for longest is dropped
)

package protocol

import "slices"

// firstWorkerEvents are the types that every hub takes. A hub that takes more names all of
// them in Welcome.Events.
var firstWorkerEvents = []EventType{
	EventOutput, EventToolCall, EventPlan, EventToolApproval, EventAgentUpdate, EventComplete, EventStatus,
	EventApprovalContent, EventApprovalResolved,
}

// WorkerEvents returns every type that a worker may publish, in a fixed order. It is what a
// hub says in Welcome.Events.
func WorkerEvents() []EventType {
	all := slices.Clone(firstWorkerEvents)
	for _, t := range EventTypes {
		if t.WorkerMaySend() && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return append(all, EventPrivateElicitation)
}

// TakesBackground reports whether the hub that sent w takes what an agent does in the
// background (see WorkerStatusData). Every hub that names its events does.
func (w Welcome) TakesBackground() bool { return len(w.Events) > 0 }

// Takes reports whether the hub that sent w takes events of a type. To any other hub a
// worker sends an agent_update with the type as its kind, and the data as its raw.
func (w Welcome) Takes(t EventType) bool {
	return slices.Contains(firstWorkerEvents, t) || slices.Contains(w.Events, t)
}

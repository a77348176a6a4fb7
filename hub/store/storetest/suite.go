// Package storetest tests a store.Store against the comments of its interfaces. Each
// implementation runs this suite in its own test.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, r store.Retention) store.Store { return mystore.New(...) })
//	}
package storetest

import (
	"context"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// Open returns an empty store. It registers with t.Cleanup what must be closed.
type Open func(t *testing.T, r store.Retention) store.Store

// Run runs the suite. Each part opens a store of its own.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name      string
		retention store.Retention
		test      func(*fixture)
	}{
		{"Create", store.Retention{}, testCreate},
		{"CreateRace", store.Retention{}, testCreateRace},
		{"NotFound", store.Retention{}, testNotFound},
		{"AppendNumbers", store.Retention{}, testAppendNumbers},
		{"AppendConflict", store.Retention{}, testAppendConflict},
		{"AppendRace", store.Retention{}, testAppendRace},
		{"Confirm", store.Retention{}, testConfirm},
		{"AppendWithoutState", store.Retention{}, testAppendWithoutState},
		{"AppendAtomic", store.Retention{}, testAppendAtomic},
		{"StateIsKept", store.Retention{}, testStateIsKept},
		{"Fence", store.Retention{}, testFence},
		{"FenceOnly", store.Retention{}, testFenceOnly},
		{"FenceOfMany", store.Retention{}, testFenceOfMany},
		{"FenceOfNextAssignment", store.Retention{}, testFenceOfNextAssignment},
		{"FenceAfterClosed", store.Retention{}, testFenceAfterClosed},
		{"FenceRace", store.Retention{}, testFenceRace},
		{"Read", store.Retention{}, testRead},
		{"ReadBounds", store.Retention{}, testReadBounds},
		{"ReadWhileAppending", store.Retention{MaxEvents: 50}, testReadWhileAppending},
		{"TrimByCount", store.Retention{MaxEvents: 10}, testTrimByCount},
		{"TrimByBytes", store.Retention{MaxBytes: 4096}, testTrimByBytes},
		{"Compact", store.Retention{}, testCompact},
		{"CompactConflict", store.Retention{}, testCompactConflict},
		{"CompactTrim", store.Retention{MaxEvents: 20}, testCompactTrim},
		{"CompactTrimBytes", store.Retention{MaxBytes: 4096}, testCompactTrimBytes},
		{"CompactForget", store.Retention{}, testCompactForget},
		{"CompactRace", store.Retention{}, testCompactRace},
		{"Commands", store.Retention{}, testCommands},
		{"Notes", store.Retention{MaxEvents: 5}, testNotes},
		{"Parts", store.Retention{}, testParts},
		{"Attachments", store.Retention{}, testAttachments},
		{"Watch", store.Retention{}, testWatch},
		{"WatchStop", store.Retention{}, testWatchStop},
		{"WatchUser", store.Retention{}, testWatchUser},
		{"WatchUserStop", store.Retention{}, testWatchUserStop},
		{"Accounts", store.Retention{}, testAccounts},
		{"AccountRace", store.Retention{}, testAccountRace},
		{"AccountWatch", store.Retention{}, testAccountWatch},
		{"List", store.Retention{}, testList},
		{"ListFilters", store.Retention{}, testListFilters},
		{"ListClasses", store.Retention{}, testListClasses},
		{"ListBadCursor", store.Retention{}, testListBadCursor},
		{"Delete", store.Retention{}, testDelete},
		{"SessionLimit", store.Retention{}, testSessionLimit},
		{"SessionLimitRace", store.Retention{}, testSessionLimitRace},
		{"Forget", store.Retention{}, testForget},
		{"TokenBucket", store.Retention{}, testTokenBucket},
		{"TokenBack", store.Retention{}, testTokenBack},
		{"OddIDs", store.Retention{}, testOddIDs},
		{"OddNames", store.Retention{}, testOddNames},
		{"LargeEvents", store.Retention{}, testLargeEvents},
		{"Due", store.Retention{}, testDue},
		{"DueHides", store.Retention{}, testDueHides},
		{"DueSettle", store.Retention{}, testDueSettle},
		{"DueArmedMeanwhile", store.Retention{}, testDueArmedMeanwhile},
		{"DueRace", store.Retention{}, testDueRace},
		{"Queue", store.Retention{}, testQueue},
		{"QueueIsFair", store.Retention{}, testQueueIsFair},
		{"QueueWatch", store.Retention{}, testQueueWatch},
		{"Mail", store.Retention{}, testMail},
		{"MailTwice", store.Retention{}, testMailTwice},
		{"Census", store.Retention{}, testCensus},
		{"WorkerLease", store.Retention{}, testWorkerLease},
		{"WorkerLapses", store.Retention{}, testWorkerLapses},
		{"Held", store.Retention{}, testHeld},
		{"Slots", store.Retention{}, testSlots},
		{"SlotsRace", store.Retention{}, testSlotsRace},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.test(newFixture(&ground{T: t, store: open(t, part.retention), ctx: t.Context()}))
		})
	}
}

// policy is the session policy of the suite's states.
var policy = session.Policy{MaxQueuedMessages: 1000, ApprovalTimeout: time.Hour}

// ground is one part of the suite with its store.
type ground struct {
	*testing.T
	store store.Store
	ctx   context.Context
}

// fixture is the ground with calls for each part of the port. These calls must succeed.
type fixture struct {
	*ground
	logs
	dueIndex
	queue
	workers
	accounts
}

func newFixture(g *ground) *fixture {
	return &fixture{ground: g, logs: logs{g}, dueIndex: dueIndex{g}, queue: queue{g}, workers: workers{g}, accounts: accounts{g}}
}

package hub_test

import (
	"reflect"
	"testing"

	"sessionhub/protocol"
)

// Each member of a session as a listing shows it is fixed, or comes from the log's end or the
// connections and is as of the last change, or session.Listed compares it. Whoever adds a
// member says here which.
func TestEveryMemberOfAListingIsAnnounced(t *testing.T) {
	const fixed, late, announced = "fixed", "as of the last change", "session.Listed"
	members := map[string]string{
		"SessionID": fixed, "UserID": fixed, "SpaceID": fixed, "Provider": fixed, "WorkingDirectory": fixed, "Metadata": fixed, "CreatedAt": fixed,
		"LastActivityAt": late, "ExpiresAt": late, "LastSeq": late, "Epoch": late, "Connections": late,
		"Title": announced, "AgentOptions": announced, "Status": announced, "PendingApprovals": announced, "PendingElicitations": announced,
		"Usage": announced, "Mode": announced, "Asking": announced, "Worktree": announced,
		"Pinned": announced, "Archived": announced, "Unread": announced,
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[protocol.Session]()) {
		if members[f.Name] == "" {
			t.Errorf("nobody says how a feed learns of %s", f.Name)
		}
	}
}

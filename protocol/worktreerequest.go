package protocol

import (
	"bytes"
	"encoding/json"
)

// WorktreeRequest asks for a git worktree of the session's own. In JSON it is true, false or
// an object. Base is the branch that the worktree begins at, and that it is merged into;
// empty: the branch that is checked out in the working directory. Branch is the name of the
// session's own branch; empty: one below WorktreeBranches.
type WorktreeRequest struct {
	Wanted bool
	Base   string
	Branch string
}

// WorktreeBranches begins the names of branches that a worker makes for sessions.
const WorktreeBranches = "sessionhub/"

// worktreeWish is a WorktreeRequest in JSON.
type worktreeWish struct {
	Base   string `json:"base,omitempty"`
	Branch string `json:"branch,omitempty"`
}

// MarshalJSON writes true, false or an object.
func (r WorktreeRequest) MarshalJSON() ([]byte, error) {
	if r.Base == "" && r.Branch == "" || !r.Wanted {
		return json.Marshal(r.Wanted)
	}
	return json.Marshal(worktreeWish{r.Base, r.Branch})
}

// UnmarshalJSON reads true, false, null or an object.
func (r *WorktreeRequest) UnmarshalJSON(raw []byte) error {
	*r = WorktreeRequest{}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' {
		return json.Unmarshal(raw, &r.Wanted)
	}
	var wish worktreeWish
	if err := json.Unmarshal(raw, &wish); err != nil {
		return err
	}
	*r = WorktreeRequest{Wanted: true, Base: wish.Base, Branch: wish.Branch}
	return nil
}

// IsZero reports whether no worktree is asked for.
func (r WorktreeRequest) IsZero() bool { return !r.Wanted }

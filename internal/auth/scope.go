package auth

import (
	"fmt"
	"strings"
)

// Scope is a set of the things that a token allows.
type Scope uint8

const (
	ScopeRead    Scope = 1 << iota // read the session and its streams
	ScopeWrite                     // send messages, cancel, delete
	ScopeApprove                   // answer questions for approval
	ScopeFiles                     // read the files of the session's directory
	ScopeCreate                    // create sessions; of user tokens alone

	// ScopeAll is the full scope of a session token. ScopeFiles is not in it: a token has it
	// only if it was asked for.
	ScopeAll = ScopeRead | ScopeWrite | ScopeApprove
	// ScopeUser is the full scope of a user token. ScopeFiles is not in it either.
	ScopeUser = ScopeAll | ScopeCreate
	// ScopeKey is what an API key may do.
	ScopeKey = ScopeUser | ScopeFiles
)

// scopeWords are in the order in which a scope is written.
var scopeWords = [...]struct {
	scope Scope
	word  string
}{{ScopeRead, "read"}, {ScopeWrite, "write"}, {ScopeApprove, "approve"}, {ScopeCreate, "create"}, {ScopeFiles, "files"}}

// ParseScope reads words separated by spaces (RFC 6749, section 3.3), in any
// order. An unknown word, and none at all, is an error.
func ParseScope(text string) (Scope, error) {
	var s Scope
next:
	for word := range strings.FieldsSeq(text) {
		for _, w := range scopeWords {
			if w.word == word {
				s |= w.scope
				continue next
			}
		}
		return 0, fmt.Errorf("scope has the unknown word %q: want read, write, approve, create or files", clip(word))
	}
	if s == 0 {
		return 0, fmt.Errorf("scope is empty: want some of read, write, approve, create and files")
	}
	return s, nil
}

// Contains reports whether everything in other is in s.
func (s Scope) Contains(other Scope) bool { return s&other == other }

// String writes the words in their fixed order.
func (s Scope) String() string {
	var words []string
	for _, w := range scopeWords {
		if s.Contains(w.scope) {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}

// clip bounds what an error says of a caller's value.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

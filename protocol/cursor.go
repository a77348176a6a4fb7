package protocol

import (
	"errors"
	"strconv"
	"strings"
)

// Cursor is a place in an event log: after the event with this Seq, as numbered in this
// Epoch. Without an Epoch, Seq counts in the log's present epoch. Latest means "from now
// on"; the other fields are empty then.
type Cursor struct {
	Epoch  string
	Seq    uint64
	Latest bool
}

// ErrCursor says that a cursor cannot be read.
var ErrCursor = errors.New(`not a cursor: want "<epoch>-<seq>", a seq, or "latest"`)

// maxEpochLen bounds what a client may send as an epoch; ours have 12.
const maxEpochLen = 64

// ParseCursor reads "<epoch>-<seq>", "<seq>", "latest" or "" (the beginning). It takes any
// text before "-" and the seq as an epoch, known or not.
func ParseCursor(s string) (Cursor, error) {
	switch s {
	case "":
		return Cursor{}, nil
	case "latest":
		return Cursor{Latest: true}, nil
	}
	epoch, num, found := strings.Cut(s, "-")
	if !found {
		epoch, num = "", s
	} else if epoch == "" || len(epoch) > maxEpochLen || !isToken(epoch) {
		return Cursor{}, ErrCursor
	}
	// A seq has no sign, spaces or leading zeros, so that each place has one spelling.
	if num == "" || num[0] < '0' || num[0] > '9' || (len(num) > 1 && num[0] == '0') {
		return Cursor{}, ErrCursor
	}
	seq, err := strconv.ParseUint(num, 10, 64)
	if err != nil || seq > MaxSeq {
		return Cursor{}, ErrCursor
	}
	return Cursor{Epoch: epoch, Seq: seq}, nil
}

// MaxSeq is the largest seq: a JavaScript number holds all integers up to it exactly.
const MaxSeq = 1<<53 - 1

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' {
			return false
		}
	}
	return true
}

// String writes the cursor for SSE's id field and for the parameter "after".
func (c Cursor) String() string {
	if c.Latest {
		return "latest"
	}
	if c.Epoch == "" {
		return strconv.FormatUint(c.Seq, 10)
	}
	return c.Epoch + "-" + strconv.FormatUint(c.Seq, 10)
}

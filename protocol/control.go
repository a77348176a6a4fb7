package protocol

import (
	"encoding/json"
	"time"
)

// ControlType names a control frame. A control frame has no seq and is never logged.
type ControlType string

const (
	ControlConnected ControlType = "connected"
	ControlCaughtUp  ControlType = "caught_up"
	ControlGap       ControlType = "gap"
	ControlExpiring  ControlType = "expiring"
	ControlDraining  ControlType = "draining"
)

// Connected is the first frame on every stream.
type Connected struct {
	SessionID        string `json:"sessionId"`
	Epoch            string `json:"epoch"`
	FirstSeq         uint64 `json:"firstSeq"` // seq of the first event that the log still has
	LastSeq          uint64 `json:"lastSeq"`
	Status           Status `json:"status"`
	Node             string `json:"node"`
	HeartbeatSeconds int    `json:"heartbeatSeconds"`
}

// CaughtUp says that the replay is over: what follows is live.
type CaughtUp struct {
	Seq uint64 `json:"seq"`
}

// The reasons of a gap.
const (
	GapTrimmed      = "trimmed"
	GapEpochChanged = "epoch_changed"
)

// GapReasons lists every reason of a gap: the closed set of the metrics label.
var GapReasons = []string{GapTrimmed, GapEpochChanged}

// Gap names events that the hub cannot deliver, both ends inclusive. With GapTrimmed the
// log no longer has them. With GapEpochChanged the client must discard those of them that
// it has: the log goes on at FromSeq with other events.
type Gap struct {
	Epoch   string `json:"epoch"`
	FromSeq uint64 `json:"fromSeq"`
	ToSeq   uint64 `json:"toSeq"`
	Reason  string `json:"reason"`
}

// Expiring says that the stream's token ends soon.
type Expiring struct {
	ExpiresAt time.Time `json:"expiresAt"`
}

// Draining says that the stream ends soon, because the node stops or for the Reason. The
// client comes back after the delay, to any node.
type Draining struct {
	ReconnectAfterMs int64  `json:"reconnectAfterMs"`
	Reason           string `json:"reason,omitempty"` // empty: the node stops
}

// DrainMaxAge is the reason when an event stream has reached its greatest age.
const DrainMaxAge = "max_age"

// AppendControl appends the JSON of a control frame. No other function encodes control
// frames. data must be one of the structs above.
func AppendControl(b []byte, t ControlType, now time.Time, data any) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, t...)
	b = append(b, `","time":"`...)
	b = AppendTime(b, now)
	b = append(b, `","data":`...)
	d, err := json.Marshal(data)
	if err != nil { // structs of strings and numbers: cannot fail
		panic("protocol: control frame: " + err.Error())
	}
	b = append(b, d...)
	return append(b, '}')
}

package worker

import (
	"testing"

	"sessionhub/protocol"
)

func TestStdinIsFullUntilItIsRead(t *testing.T) {
	q := newStdin(10)
	q.push([]byte("12345678"))
	if q.full() {
		t.Error("full below its limit")
	}
	q.push([]byte("9")) // what the hub commands is always taken
	q.push([]byte("abc"))
	if !q.full() || q.offset() != 12 {
		t.Errorf("full %v at offset %d", q.full(), q.offset())
	}
	if got := string(q.take()); got != "12345678" || q.full() {
		t.Errorf("took %q, full %v", got, q.full())
	}
	select {
	case <-q.room:
	default:
		t.Error("nobody was told that there is room")
	}
	if got := string(q.take()) + string(q.take()); got != "9abc" || q.take() != nil {
		t.Errorf("took %q", got)
	}
}

// Nobody would ever take what is behind a pipe that is closed: it must neither
// pile up nor hold the agent back, whose last words are still read.
func TestClosedStdinIsNeverFull(t *testing.T) {
	q := newStdin(10)
	q.push(make([]byte, 20))
	q.close()
	q.push(make([]byte, 20))
	if q.full() || q.take() != nil || q.offset() != 40 {
		t.Errorf("full %v, offset %d", q.full(), q.offset())
	}
	select {
	case <-q.room:
	default:
		t.Error("nobody was told that there is room")
	}
}

// An agent that asks a lot before it reads the first answer is no fault: 256
// questions used to be its end.
func TestBurstOfRequestsIsAnswered(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "burst 5000")
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn || s.text("m1") != "all answered" {
		t.Errorf("%+v, %q", c, s.text("m1"))
	}
}

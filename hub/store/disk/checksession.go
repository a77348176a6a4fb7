package disk

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/session"
)

// seen is a session as Check finds it.
type seen struct {
	identity
	name  string // for people
	order uint64
	head  *head          // nil if it cannot be read
	state *session.State // nil if it cannot be read

	next     uint64 // the first seq of the next event
	bytes    uint64
	events   int
	commands map[uint64]bool
}

// session reads all of a session.
func (c *checker) session(x *seen, epoch string) {
	fault := func(do, what string, args ...any) { c.fault(x.name, do, what, args...) }
	if b, err := c.must(kindHead, x.order); err != nil {
		fault(doRestore, "its head: %v", err)
	} else if x.head, err = decodeHead(b); err != nil {
		fault(doRestore, "its head does not decode: %v", err)
	}
	if b, err := c.must(kindState, x.order); err != nil {
		fault(doRestore, "its state: %v", err)
	} else if err := json.Unmarshal(b, &x.state); err != nil {
		x.state = nil
		fault(doRestore, "its state does not decode: %v", err)
	}
	if x.state != nil && x.state.Info.SessionID != x.ID {
		fault(doRestore, "its state is of session %q", x.state.Info.SessionID)
	}
	if x.head == nil {
		return
	}
	c.epochs(x, epoch)
	x.next, x.commands = x.head.first, make(map[uint64]bool)
	if x.head.first == 0 || x.head.first > x.head.last+1 {
		fault(doRestore, "its head says that events %d to %d are kept", x.head.first, x.head.last)
	}
	if err := c.data(x); err != nil {
		fault(doSession, "it cannot be read on: %v", err)
		return
	}
	c.result.Events += x.events
	c.result.Bytes += int64(x.bytes)
	if x.next != x.head.last+1 {
		fault(doSession, "events %d to %d are not there", x.next, x.head.last)
	}
	if x.bytes != x.head.bytes {
		fault(doSession, "its events have %d bytes, and its head says %d", x.bytes, x.head.bytes)
	}
	if uint64(x.events) != x.head.count {
		fault(doSession, "%d events are there, and its head says %d", x.events, x.head.count)
	}
	if x.head.compact > x.head.last {
		fault(doRestore, "its head says that the log is compacted up to %d, and the last event is %d", x.head.compact, x.head.last)
	}
	if x.state != nil && !x.state.Forgotten {
		c.whole(x)
	}
}

// must reads a key that has to be there; a missing key is a fault.
func (c *checker) must(kind byte, order uint64) ([]byte, error) {
	b, ok, err := c.get(key(kind, order))
	if err == nil && !ok {
		err = errors.New("it is not there")
	}
	return b, err
}

// epochs judges where the epochs of the log begin.
func (c *checker) epochs(x *seen, now string) {
	if len(x.Epochs) == 0 {
		c.fault(x.name, doRestore, "it has no epoch")
		return
	}
	first := uint64(1)
	for _, e := range x.Epochs {
		if e.Epoch == "" || e.First < first || e.First > x.head.last+1 {
			c.fault(x.name, doRestore, "its epoch %q begins with event %d of %d", e.Epoch, e.First, x.head.last)
		}
		first = max(first, e.First)
	}
	if last := x.Epochs[len(x.Epochs)-1].Epoch; last != now {
		c.fault(x.name, doRestore, "it is in the epoch %q, and the store in %q", last, now)
	}
}

// data reads events, commands, notes and parts.
func (c *checker) data(x *seen) (err error) {
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: key(kindData, x.order), UpperBound: key(kindData, x.order+1)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := c.datum(x, it.Key(), value); err != nil {
			c.fault(x.name, doSession, "%v", err)
		}
	}
	return it.Error()
}

// datum judges one key. Its error is a fault.
func (c *checker) datum(x *seen, k, value []byte) error {
	if len(k) == 9 {
		return errors.New("one of its keys ends too early")
	}
	rest := string(k[10:])
	switch k[9] {
	case dataEvent:
		return c.event(x, k, value)
	case dataCommand:
		seq, err := seqOf(k)
		if err != nil {
			return fmt.Errorf("a command: %w", err)
		}
		stamp, command, err := decodeCommand(seq, value)
		switch {
		case err != nil:
			return fmt.Errorf("command %d: %w", seq, err)
		case !json.Valid(command.Data):
			return fmt.Errorf("command %d is no JSON", seq)
		case stamp > x.head.stamp:
			return fmt.Errorf("command %d was stored with append %d, and the last one is %d", seq, stamp, x.head.stamp)
		case x.state != nil && seq > x.state.NextCommand:
			return fmt.Errorf("command %d is there, and the last one is %d", seq, x.state.NextCommand)
		}
		x.commands[seq] = true
	case dataNote:
		stamp, seq, _, err := decodeNote(value)
		switch {
		case err != nil:
			return fmt.Errorf("note %q: %w", rest, err)
		case stamp > x.head.stamp:
			return fmt.Errorf("note %q was stored with append %d, and the last one is %d", rest, stamp, x.head.stamp)
		case seq > x.head.last:
			return fmt.Errorf("note %q is of event %d, and the last one is %d", rest, seq, x.head.last)
		}
	case dataPart:
	default:
		return fmt.Errorf("it has a key of an unknown kind, %q", k[9])
	}
	return nil
}

// event judges an event by its place in the log.
func (c *checker) event(x *seen, k, value []byte) error {
	seq, err := seqOf(k)
	if err != nil {
		return fmt.Errorf("an event: %w", err)
	}
	e, err := decodeEvent(seq, value)
	if err != nil {
		return fmt.Errorf("event %d: %w", seq, err)
	}
	x.events++
	x.bytes += uint64(e.JSONLen())
	want := x.next
	x.next = max(x.next, seq+1)
	switch {
	case !json.Valid(e.AppendJSON(nil)):
		return fmt.Errorf("event %d is no JSON", seq)
	case seq > x.head.last:
		return fmt.Errorf("event %d is there, and the last one is %d", seq, x.head.last)
	case e.First() < want:
		return fmt.Errorf("event %d is there, where %d has to come", e.First(), want)
	case e.First() > want:
		return fmt.Errorf("events %d to %d are not there", want, e.First()-1)
	}
	return nil
}

// whole checks that everything is there that the state names.
func (c *checker) whole(x *seen) {
	missing := func(kind byte, name string) bool {
		_, ok, err := c.get(named(x.order, kind, name))
		return err == nil && !ok // an error was told before
	}
	for _, m := range x.state.Messages {
		if !x.commands[m.Command] {
			c.fault(x.name, doSession, "the command of message %q is not there", m.ID)
		}
		if missing(dataNote, session.MessageNote(m.ID)) {
			c.fault(x.name, doSession, "the note of message %q is not there", m.ID)
		}
	}
	if x.state.Options.Listed && missing(dataPart, session.OptionsPart) {
		c.fault(x.name, doSession, "the list of the agent's options is not there")
	}
	if !x.state.Forgotten {
		for _, a := range x.state.Attachments {
			for i := range a.Parts {
				if missing(dataPart, session.AttachmentKey(a.ID, i)) {
					c.fault(x.name, doSession, "part %d of attachment %q is not there", i, a.ID)
				}
			}
		}
	}
	if x.state.Closed == "" && len(x.state.Info.AgentOptions.MCPServers) > 0 && missing(dataPart, session.MCPPart) {
		c.fault(x.name, doSession, "the MCP servers of the session are not there")
	}
	for _, q := range x.state.Elicitations {
		if q.Data.Private && missing(dataPart, session.PartKey(q.Data.InteractionID, 0)) {
			c.fault(x.name, doSession, "the private question %q is not there", q.Data.InteractionID)
		}
	}
	for _, a := range x.state.Approvals {
		if a.Whole == nil {
			continue
		}
		for i := range a.Whole.Parts {
			if name := session.PartKey(a.Data.InteractionID, i); missing(dataPart, name) {
				c.fault(x.name, doSession, "part %d of question %q is not there", i, a.Data.InteractionID)
			}
		}
	}
}

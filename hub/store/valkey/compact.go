package valkey

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
)

// compacter is a store.Compacter.
type compacter struct {
	*calls
	node *node
}

// Compact implements store.Compacter. It weighs the events of the range before the step, so
// that the step blocks the server as briefly as possible. The weighed events are those that
// the step replaces: events behind the log's beginning never change. The step is refused if
// the log begins elsewhere by then.
func (s *compacter) Compact(ctx context.Context, id string, c store.Compaction) error {
	keys, ok := s.keys(id)
	if !ok {
		return notFound(id)
	}
	if len(c.Entries) == 0 {
		return c.Fits("", 0, 0, 0)
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	what := "compact session " + id
	known, err := s.node.allKnowCompaction(call)
	switch {
	case err != nil:
		return s.unavailable(ctx, "compact", what, err)
	case !known:
		return fmt.Errorf("%s: %w: a node of an earlier version lives", what, store.ErrNotYet)
	}
	size := int64(0)
	for next := c.First(); next <= c.Last(); {
		w, ok, err := s.weigh(call, keys, next, c.Last())
		switch {
		case err != nil:
			return s.unavailable(ctx, "compact", what, err)
		case !ok:
			return notFound(id)
		}
		if err := c.Fits(w.head.epoch, w.beginning.firstOf(w.head), w.head.last, w.beginning.last); err != nil {
			return fmt.Errorf("session %s: %w", id, err)
		}
		if w.last < next {
			return fmt.Errorf("%s: %w: event %d is not there", what, store.ErrConflict, next)
		}
		size, next = size+w.bytes, w.last+1
	}
	return s.step(ctx, call, id, keys, c, size)
}

// step runs compact.lua. size is the weight of the events that the step replaces.
func (s *compacter) step(ctx, call context.Context, id string, keys [5]string, c store.Compaction, size int64) error {
	args := make([]string, 5, 5+2*len(c.Entries))
	args[0], args[1] = c.Epoch, strconv.FormatUint(c.After, 10)
	args[2], args[3] = strconv.FormatUint(c.First(), 10), strconv.FormatUint(c.Last(), 10)
	args[4] = strconv.FormatInt(size, 10)
	for _, e := range c.Entries {
		value := valkey.BinaryString(e.Tail)
		if e.From != 0 {
			value = strconv.FormatUint(e.From, 10) + value
		}
		args = append(args, strconv.FormatUint(e.Seq, 10), value)
	}
	what := "compact session " + id
	answer, err := compactScript.Exec(call, s.client, []string{keys[0], keys[1], keys[4]}, args).ToString()
	switch {
	case err != nil:
		return s.unavailable(ctx, "compact", what, err)
	case answer != "done":
		return fmt.Errorf("%s: %w", what, refusalError(answer))
	}
	return nil
}

// weight is the answer of weigh.lua: where the log is, and what its events up to last
// weigh.
type weight struct {
	head      head
	beginning beginning
	bytes     int64
	last      uint64
}

// weigh asks for one piece of a range. ok is false if there is no such session.
func (s *compacter) weigh(ctx context.Context, keys [5]string, from, to uint64) (w weight, ok bool, err error) {
	v, err := weighScript.Exec(ctx, s.client, keys[:2], []string{strconv.FormatUint(from, 10), strconv.FormatUint(to, 10)}).ToArray()
	if err == nil && len(v) != 4 {
		err = fmt.Errorf("the script gave %d values", len(v))
	}
	if err != nil || v[0].IsNil() {
		return w, false, err
	}
	text, err := v[0].ToString()
	if err != nil {
		return w, false, err
	}
	if w.head, err = parseHead(text); err != nil {
		return w, false, err
	}
	if !v[1].IsNil() {
		if text, err = v[1].ToString(); err != nil {
			return w, false, err
		}
		if w.beginning, err = parseBeginning(text); err != nil {
			return w, false, err
		}
	}
	if w.bytes, err = v[2].AsInt64(); err != nil {
		return w, false, err
	}
	w.last, err = v[3].AsUint64()
	return w, err == nil, err
}

// beginning is the field compacted of a session: see compact.lua.
type beginning struct{ last, first uint64 }

// parseBeginning reads "last first bytes". An empty text means that nothing is compacted.
func parseBeginning(text string) (b beginning, err error) {
	if text == "" {
		return b, nil
	}
	words := strings.Fields(text)
	if len(words) != 3 {
		return b, fmt.Errorf("the beginning of a session has %d words", len(words))
	}
	for i, to := range []*uint64{&b.last, &b.first} {
		if *to, err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return b, fmt.Errorf("the beginning of a session: %w", err)
		}
	}
	return b, nil
}

// firstOf is the first seq of a log. If a node of an earlier version has trimmed the log
// beyond its compacted beginning, that beginning no longer counts.
func (b beginning) firstOf(h head) uint64 {
	if b.last > 0 && b.first <= b.last && h.first == b.last+1 {
		return b.first
	}
	return h.first
}

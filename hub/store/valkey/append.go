package valkey

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Append implements store.Writer.
func (s *sessions) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	keys, ok := s.keys(id)
	if !ok {
		return store.Appended{}, notFound(id)
	}
	done, err := s.run(ctx, "append", keys, id, "", b)
	if err == nil && b.State != nil && b.State.Closed != "" {
		// If this fails, nothing is lost: takeSeat finds that the seat is free once all
		// are taken.
		s.leave(ctx, b.State.Info.UserID, id)
	}
	return done, err
}

// run runs append.lua. mode is "append" or "create".
func (s *sessions) run(ctx context.Context, mode string, keys [5]string, id, user string, b store.Batch) (store.Appended, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	what := mode + " session " + id
	if mode == "append" {
		what = "append to session " + id
	}
	r := appendScript.Exec(call, s.client, keys[:], s.args(mode, user, b))
	m, err := r.ToMessage()
	if err != nil {
		return store.Appended{}, s.unavailable(ctx, mode, what, err)
	}
	if m.IsString() {
		refusal, _ := m.ToString()
		return store.Appended{}, fmt.Errorf("%s: %w", what, refusalError(refusal))
	}
	done, err := appended(m)
	if err != nil {
		return store.Appended{}, s.unavailable(ctx, mode, what, fmt.Errorf("the script answered %v: %w", m.String(), err))
	}
	return done, nil
}

// appended reads the answer of append.lua for a batch that was stored.
func appended(m valkey.ValkeyMessage) (store.Appended, error) {
	v, err := m.ToArray()
	if err != nil {
		return store.Appended{}, err
	}
	if len(v) != 4 {
		return store.Appended{}, fmt.Errorf("%d values", len(v))
	}
	var n [3]int64
	for i := range n {
		if n[i], err = v[i].AsInt64(); err != nil {
			return store.Appended{}, err
		}
	}
	epoch, err := v[3].ToString()
	return store.Appended{First: uint64(n[0]), Last: uint64(n[1]), Time: time.UnixMicro(n[2]), Epoch: strings.Clone(epoch)}, err
}

// refusalError is the error for a refusal that append.lua names.
func refusalError(name string) error {
	switch name {
	case "missing":
		return session.ErrNotFound
	case "exists":
		return store.ErrExists
	case "conflict":
		return store.ErrConflict
	case "fenced":
		return session.ErrFenced
	case "repeat":
		return store.ErrRepeat
	case "hole":
		return store.ErrHole
	}
	return fmt.Errorf("%w: the script answered %q", store.ErrUnavailable, name)
}

// args are the arguments of append.lua:
//
//	 1  create, append, or confirm: nothing but the epoch
//	 2  the name of an epoch that may begin
//	 3  PUBLISH or SPUBLISH
//	 4  most events, 5 most bytes
//	 6  the fence's assignment, or empty, 7 its n
//	 8  the expected version, or that and the epoch, or empty: no state
//	 9  the state, 10 its assignment, 11 the assignment that may publish, or -,
//	12  its status, 13 why it closed, or empty
//	14  1 to forget
//	15  how many events, 16 commands, 17 commands to drop, 18 notes
//	19  how many open questions the state has
//	20  the last n that the fence stands for
//	21  how many parts of questions, 22 parts to drop
//	23  the events and so on: type, data / seq, "type data" / seq / key, value, index of its event /
//	    key, part / key
//	    then the state's marks (see marksOf), if there is a state
//	    then the user's channel, if the change is announced there
//	    last of all, to create: the user
func (c *calls) args(mode, user string, b store.Batch) []string {
	args := make([]string, 22, 25+2*len(b.Events)+2*len(b.Commands)+len(b.Drop)+3*len(b.Notes)+2*len(b.Parts)+len(b.Dropped))
	args[0], args[1], args[2] = mode, newEpoch(), c.publish
	args[3], args[4] = bound(int64(c.opt.Retention.MaxEvents)), bound(c.opt.Retention.MaxBytes)
	if f := b.Fence; f != nil {
		args[5], args[6] = strconv.FormatUint(f.Assignment, 10), strconv.FormatUint(f.N, 10)
		args[19] = strconv.FormatUint(f.Last(), 10)
	}
	if st := b.State; st != nil {
		args[7] = strconv.FormatUint(b.Expect, 10)
		if b.Epoch != "" {
			args[7] += " " + b.Epoch
		}
		args[8] = valkey.BinaryString(protocol.Marshal(st))
		args[9] = strconv.FormatUint(st.Assignment, 10)
		if st.Has(st.Assignment) {
			args[10] = args[9]
		} else {
			args[10] = "-"
		}
		args[11], args[12], args[18] = string(st.Status.Status), st.Closed, strconv.Itoa(st.Questions())
	}
	if b.Forget {
		args[13] = "1"
	}
	args[14], args[15] = strconv.Itoa(len(b.Events)), strconv.Itoa(len(b.Commands))
	args[16], args[17] = strconv.Itoa(len(b.Drop)), strconv.Itoa(len(b.Notes))
	args[20], args[21] = strconv.Itoa(len(b.Parts)), strconv.Itoa(len(b.Dropped))
	for _, e := range b.Events {
		args = append(args, string(e.Type), valkey.BinaryString(e.Data))
	}
	for _, x := range b.Commands {
		args = append(args, strconv.FormatUint(x.Seq, 10), string(x.Type)+" "+string(x.Data))
	}
	for _, seq := range b.Drop {
		args = append(args, strconv.FormatUint(seq, 10))
	}
	for _, n := range b.Notes {
		args = append(args, n.Key, n.Value, strconv.Itoa(n.Event))
	}
	for _, p := range b.Parts {
		args = append(args, partField(p.Key), valkey.BinaryString(p.Data))
	}
	for _, key := range b.Dropped {
		args = append(args, partField(key))
	}
	if b.State != nil {
		args = append(args, marksOf(b.State))
	}
	if b.Listed || mode == "create" {
		args = append(args, c.userChannel(b.State.Info.UserID))
	}
	if mode == "create" {
		args = append(args, user)
	}
	return args
}

// bound writes a bound of the retention for append.lua, which has no "none".
func bound(most int64) string {
	if most == 0 {
		most = 1 << 50 // the script counts in float64
	}
	return strconv.FormatInt(most, 10)
}

// partField is the field of a part among the notes. A part goes with the notes, also when a
// node of an earlier version deletes the session.
func partField(key string) string { return "part:" + key }

// newEpoch names an epoch by 60 random bits: no two logs that a client meets share one.
func newEpoch() string { return strings.ToLower(rand.Text()[:12]) }

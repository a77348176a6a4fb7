package valkeystore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// Append implements hub.Store.
func (s *Store) Append(ctx context.Context, id string, b hub.Batch) (hub.Appended, error) {
	keys, ok := s.keys(id)
	if !ok {
		return hub.Appended{}, notFound(id)
	}
	done, err := s.run(ctx, "append", keys, id, "", b)
	if err == nil && b.State != nil && b.State.Closed != "" {
		// A hint: while it is missing, the place is found to be free when all
		// are taken.
		s.leave(ctx, b.State.Info.UserID, id)
	}
	return done, err
}

// run runs append.lua: mode is "append" or "create".
func (s *Store) run(ctx context.Context, mode string, keys [4]string, id, user string, b hub.Batch) (hub.Appended, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	what := mode + " session " + id
	if mode == "append" {
		what = "append to session " + id
	}
	r := appendScript.Exec(call, s.client, keys[:], s.args(mode, user, b))
	m, err := r.ToMessage()
	if err != nil {
		return hub.Appended{}, s.unavailable(ctx, mode, what, err)
	}
	if m.IsString() {
		refusal, _ := m.ToString()
		return hub.Appended{}, fmt.Errorf("%s: %w", what, refusalError(refusal))
	}
	n, err := m.AsIntSlice()
	if err != nil || len(n) != 3 {
		return hub.Appended{}, s.unavailable(ctx, mode, what, fmt.Errorf("the script answered %v: %w", m.String(), err))
	}
	return hub.Appended{First: uint64(n[0]), Last: uint64(n[1]), Time: time.UnixMicro(n[2])}, nil
}

// refusalError is what a name that append.lua gives means.
func refusalError(name string) error {
	switch name {
	case "missing":
		return hub.ErrNotFound
	case "exists":
		return hub.ErrExists
	case "conflict":
		return hub.ErrConflict
	case "fenced":
		return hub.ErrFenced
	case "repeat":
		return hub.ErrRepeat
	case "hole":
		return hub.ErrHole
	}
	return fmt.Errorf("%w: the script answered %q", hub.ErrUnavailable, name)
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
//	19  how many approvals the state has
//	20  the last n that the fence stands for
//	21  the events and so on: type, data / seq, "type data" / seq / key, value, index of its event
//	    last of all, to create: the user
func (s *Store) args(mode, user string, b hub.Batch) []string {
	args := make([]string, 20, 21+2*len(b.Events)+2*len(b.Commands)+len(b.Drop)+3*len(b.Notes))
	args[0], args[1], args[2] = mode, newEpoch(), s.publish
	args[3], args[4] = strconv.Itoa(s.opt.Retention.MaxEvents), strconv.FormatInt(s.opt.Retention.MaxBytes, 10)
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
		args[11], args[12], args[18] = string(st.Status.Status), st.Closed, strconv.Itoa(len(st.Approvals))
	}
	if b.Forget {
		args[13] = "1"
	}
	args[14], args[15] = strconv.Itoa(len(b.Events)), strconv.Itoa(len(b.Commands))
	args[16], args[17] = strconv.Itoa(len(b.Drop)), strconv.Itoa(len(b.Notes))
	for _, e := range b.Events {
		args = append(args, string(e.Type), valkey.BinaryString(e.Data))
	}
	for _, c := range b.Commands {
		args = append(args, strconv.FormatUint(c.Seq, 10), string(c.Type)+" "+string(c.Data))
	}
	for _, seq := range b.Drop {
		args = append(args, strconv.FormatUint(seq, 10))
	}
	for _, n := range b.Notes {
		args = append(args, n.Key, n.Value, strconv.Itoa(n.Event))
	}
	if mode == "create" {
		args = append(args, user)
	}
	return args
}

// newEpoch names an epoch: 60 random bits, so that no two logs that a client
// meets have one in common.
func newEpoch() string { return strings.ToLower(rand.Text()[:12]) }

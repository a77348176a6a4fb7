package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// checkConfig checks the options of a new session. A mode or a model in Config is one, as in
// their own fields.
func checkConfig(o *protocol.AgentOptions) error {
	if len(o.Config) > protocol.MaxChosenOptions {
		return fmt.Errorf("%w: agentOptions.config has %d options: at most %d", session.ErrInvalid, len(o.Config), protocol.MaxChosenOptions)
	}
	for id, v := range o.Config {
		if err := checkOption("agentOptions.config: ", protocol.SetOptionRequest{ConfigID: id, Value: v}); err != nil {
			return err
		}
	}
	for id, field := range map[string]*string{protocol.ConfigMode: &o.Mode, protocol.ConfigModel: &o.Model} {
		v, there := o.Config[id]
		if !there {
			continue
		}
		if v.IsBool || v.Text == "" || *field != "" && *field != v.Text {
			return fmt.Errorf("%w: agentOptions.config.%s must be a text, and the same as agentOptions.%s", session.ErrInvalid, id, id)
		}
		*field = v.Text
		o.Config = maps.Clone(o.Config)
		delete(o.Config, id)
	}
	if len(o.Config) == 0 {
		o.Config = nil
	}
	return nil
}

func checkOption(where string, r protocol.SetOptionRequest) error {
	if err := session.FirstOf(
		session.CheckName(where+"configId", r.ConfigID, protocol.MaxNameBytes), session.CheckOptional(where+"value", r.Value.Text, protocol.MaxNameBytes),
	); err != nil {
		return fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	return nil
}

// Settings are the actions of people on the options of a session's agent. All methods may
// be called concurrently.
type Settings struct{ cmd *Commands }

// Options gives the options of the session's agent as they were last told. The list is empty
// until an agent of the session has started.
func (o Settings) Options(ctx context.Context, id string) (protocol.SessionOptions, error) {
	snap, err := o.cmd.Load(ctx, id)
	if err != nil {
		return protocol.SessionOptions{}, err
	}
	out := protocol.SessionOptions{
		ConfigOptions: []protocol.ConfigOption{}, Mode: snap.State.Options.Mode, Asking: snap.State.Options.Asking, Chosen: snap.State.Options.Chosen,
	}
	list, err := listOf(ctx, o.cmd.store, snap)
	if err == nil && list != nil {
		out.ConfigOptions, out.Truncated = list.ConfigOptions, list.Truncated
	}
	return out, err
}

// listOf reads the list of a session's options; nil: there is none.
func listOf(ctx context.Context, from store.Parts, snap store.Snapshot) (*protocol.ConfigOptionsData, error) {
	if !snap.State.Options.Listed {
		return nil, nil
	}
	id := snap.State.Info.SessionID
	raw, ok, err := from.Part(ctx, id, session.OptionsPart)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("session %s: the list of its options: %w", id, store.ErrPartMissing)
	}
	var list protocol.ConfigOptionsData
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("session %s: read the list of its options: %w", id, err)
	}
	return &list, nil
}

// SetOption sets an option of the session's agent: at once if it runs, else at its next
// start. mayApprove says that the caller may answer the agent's questions; without that, the
// caller cannot set a mode in which it asks none. The answer names the option; the log says
// what became of it. A change counts as a message for the user's rate.
func (o Settings) SetOption(ctx context.Context, id, user string, r protocol.SetOptionRequest, mayApprove bool) (protocol.SetOptionResponse, error) {
	if err := checkOption("", r); err != nil {
		return protocol.SetOptionResponse{}, err
	}
	if err := o.cmd.env.ReadyFor(id); err != nil {
		return protocol.SetOptionResponse{}, err
	}
	if err := o.cmd.allow(ctx, metrics.LimitMessageRate, user, o.cmd.cfg.Limits.Messages); err != nil {
		return protocol.SetOptionResponse{}, err
	}
	in := session.InSetOption{Request: r, By: user, MayApprove: mayApprove}
	judge := func(ctx context.Context, snap store.Snapshot, _ store.Noted) (err error) {
		if _, err = store.Visible(snap, nil); err == nil {
			in.List, err = listOf(ctx, o.cmd.store, snap)
		}
		return err
	}
	done, err := o.cmd.engine.Decide(ctx, id, &in, engine.Terms{Judge: judge})
	if err != nil {
		return protocol.SetOptionResponse{}, err
	}
	return done.Result.Set, nil
}

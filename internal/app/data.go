package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"sessionhub/hub/store/disk"
	"sessionhub/internal/config"
)

// ErrFaults is what CheckData ends with when it has found faults.
var ErrFaults = errors.New("the store has faults")

// CheckData verifies a store on disk, and prints on out what it finds.
func CheckData(ctx context.Context, cfg config.Data, out io.Writer) error {
	result, err := disk.Check(ctx, cfg.Dir, func(f disk.Fault) {
		of := "the store"
		if f.Session != "" {
			of = fmt.Sprintf("session %q", f.Session)
		}
		fmt.Fprintf(out, "fault in %s: %s\n  what to do: %s\n", of, f.What, f.Do)
	})
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	format := fmt.Sprint(result.Format)
	if result.Format < result.Newest {
		format += fmt.Sprintf(" (`sessionhub upgrade` raises it to %d)", result.Newest)
	}
	end := "not clean: the next start replays the log and begins a new epoch"
	if result.Clean {
		end = "clean: the next start goes on in the same epoch"
	}
	for _, f := range []fact{
		{"sessions", fmt.Sprint(result.Sessions)},
		{"events", fmt.Sprintf("%d, %d bytes of JSON", result.Events, result.Bytes)},
		{"files", fmt.Sprintf("%d bytes", result.Files)},
		{"format", format},
		{"end", end},
		{"faults", fmt.Sprint(result.Faults)},
	} {
		fmt.Fprintf(out, "%-9s %s\n", f.name, f.value)
	}
	if result.Faults > 0 {
		return ErrFaults
	}
	return nil
}

// BackupData makes a copy of a store on disk, also of one that a node has.
func BackupData(ctx context.Context, cfg config.Data, out io.Writer) error {
	made, err := disk.Backup(ctx, cfg.Dir, cfg.To)
	if err != nil {
		return err
	}
	by := "no node has the store"
	if made.Running {
		by = "made by the node that has the store"
	}
	fmt.Fprintf(out, "copied %d files of %d bytes to %s (%s)\n", made.Files, made.Bytes, made.Dir, by)
	var notes []string
	if made.Secret {
		notes = append(notes, "It holds the secret that signs tokens (token-secret): who reads it can make tokens. Keep it as safe as the store.")
	}
	notes = append(notes,
		"Files in it may be the store's own, by hard links: copy it to another disk to survive the loss of this one.",
		"To verify it:  sessionhub check --data-dir "+quoted(made.Dir),
		"To restore it: sessionhub serve --data-dir "+quoted(made.Dir))
	_, err = fmt.Fprintln(out, strings.Join(notes, "\n"))
	return err
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if strings.Trim(path, "/._-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// UpgradeData raises the format of a store on disk.
func UpgradeData(ctx context.Context, cfg config.Data, out io.Writer) error {
	done, err := disk.Upgrade(ctx, cfg.Dir)
	switch {
	case err != nil:
		return fmt.Errorf("--data-dir: %w", err)
	case done.From == done.To:
		_, err = fmt.Fprintf(out, "nothing to do: format %d is the newest that this version knows\n", done.To)
	default:
		_, err = fmt.Fprintf(out, "raised the format from %d to %d: older versions cannot read the store any more\n", done.From, done.To)
	}
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sessionhub/internal/app"
	"sessionhub/internal/config"
)

// The commands for a store on disk.

func check(ctx context.Context, args []string) int {
	return onData(ctx, "check", args, config.ParseData, app.CheckData)
}

func backup(ctx context.Context, args []string) int {
	return onData(ctx, "backup", args, config.ParseBackup, app.BackupData)
}

func upgrade(ctx context.Context, args []string) int {
	return onData(ctx, "upgrade", args, config.ParseData, app.UpgradeData)
}

func onData(
	ctx context.Context, name string, args []string,
	parse func([]string, func(string) (string, bool)) (config.Data, error),
	run func(context.Context, config.Data, io.Writer) error,
) int {
	cfg, err := parse(args, os.LookupEnv)
	if errors.Is(err, config.ErrHelp) {
		return help(os.Stdout, name)
	}
	code := exitUsage
	if err == nil {
		code = exitFailed
		err = run(ctx, cfg, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sessionhub %s: %v\n", name, err)
		return code
	}
	return exitOK
}

func checkUsage(w io.Writer) error {
	_, err := fmt.Fprint(w, `It reads every key of every session and every block of every file, and changes nothing.
No node may have the store. It prints each fault with what to do. It exits with 0 for a
store without a fault, 1 for faults or a store that it cannot check, 2 for bad usage.

`)
	if err != nil {
		return err
	}
	return config.DataUsage(w)
}

func backupUsage(w io.Writer) error {
	_, err := fmt.Fprint(w, `A node that has the store makes the copy itself and goes on meanwhile: run this as its
user, on its machine. Everything that was acknowledged before is in the copy, and the
secret that signs tokens, if the store has it. To restore the copy, serve it:
sessionhub serve --data-dir COPY. Clients that have seen later events get a gap then.

`)
	if err != nil {
		return err
	}
	return config.BackupUsage(w)
}

func upgradeUsage(w io.Writer) error {
	_, err := fmt.Fprint(w, `No node may have the store. serve never raises the format by itself, so until then an
older version can serve the store again. An upgrade that did not end goes on when it is
run again.

`)
	if err != nil {
		return err
	}
	return config.DataUsage(w)
}

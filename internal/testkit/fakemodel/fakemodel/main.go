// Command fakemodel serves the scripted model API of package fakemodel to tests
// that are not written in Go. It makes a home for an agent that talks to it,
// prints the environment that the agent needs, one JSON object on one line, and
// serves until its stdin ends:
//
//	fakemodel codex|claude DIRECTORY
//
// Each line of its stdin is answered by one line, a JSON list of the bodies of the
// newest requests that it got, oldest first.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"sessionhub/internal/testkit/fakemodel"
)

func main() {
	if err := serve(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fakemodel:", err)
		os.Exit(1)
	}
}

func serve(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("read the command line: want an agent and a directory for its home, got %d words", len(args))
	}
	model, err := fakemodel.New(nil)
	if err != nil {
		return err
	}
	defer model.Close()
	var env []string
	switch agent, home := args[0], args[1]; agent {
	case "codex":
		env, err = fakemodel.CodexHome(home, model.URL())
	case "claude":
		env = fakemodel.ClaudeHome(home, model.URL())
	default:
		err = fmt.Errorf("there is no home for the agent %q", agent)
	}
	if err != nil {
		return err
	}
	byName := make(map[string]string, len(env))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		byName[name] = value
	}
	if err := json.NewEncoder(out).Encode(byName); err != nil {
		return fmt.Errorf("print the environment: %w", err)
	}
	asked := bufio.NewScanner(in)
	for asked.Scan() {
		bodies := []json.RawMessage{}
		for _, r := range model.Requests() {
			bodies = append(bodies, r.Body)
		}
		if err := json.NewEncoder(out).Encode(bodies); err != nil {
			return fmt.Errorf("print the requests: %w", err)
		}
	}
	return asked.Err()
}

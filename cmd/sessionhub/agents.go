package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sessionhub/internal/app"
	"sessionhub/internal/config"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// agents lists the agents of this machine.
func agents(_ context.Context, args []string) int {
	cfg, err := config.ParseAgents(args, os.LookupEnv)
	if errors.Is(err, config.ErrHelp) {
		return help(os.Stdout, "agents")
	}
	code := exitUsage
	if err == nil {
		var all []app.AgentReport
		if all, err = app.Agents(cfg); err == nil {
			err = printAgents(os.Stdout, all, cfg)
		}
		if !errors.Is(err, app.ErrConfig) {
			code = exitFailed
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sessionhub agents: %v\n", err)
		return code
	}
	return exitOK
}

func agentsUsage(w io.Writer) error {
	_, err := fmt.Fprint(w, `It looks for the agents that it knows in PATH, as serve and worker do, and starts none.
It prints what is there, what is missing, and the command that installs it. Of a login
it tells the name of the variable or file that shows it, and no value.

`)
	if err != nil {
		return err
	}
	return config.AgentsUsage(w)
}

func printAgents(out io.Writer, all []app.AgentReport, cfg config.Agents) error {
	if cfg.JSON {
		raw, err := json.MarshalIndent(map[string]any{"agents": all}, "", "  ")
		if err == nil {
			_, err = out.Write(append(text.JSON(raw), '\n'))
		}
		return err
	}
	var b strings.Builder
	section := func(title, status string, lines func(app.AgentReport) []string) {
		for _, r := range all {
			if r.Status != status {
				continue
			}
			if title != "" {
				b.WriteString(text.Line(title) + "\n")
				title = ""
			}
			head := fmt.Sprintf("  %-10s %s", text.Line(r.Name), text.Line(r.Title+" "+r.Version))
			b.WriteString(strings.TrimRight(head, " ") + "\n")
			for _, line := range lines(r) {
				b.WriteString("             " + text.Line(line) + "\n")
			}
		}
	}
	section("Ready to be offered:", app.AgentFound, func(r app.AgentReport) []string {
		switch r.Login {
		case protocol.LoginFound:
			return []string{r.Path, "login: " + r.LoginBy}
		case protocol.LoginMissing:
			return []string{r.Path, "login: none seen; " + r.LogIn}
		}
		return []string{r.Path}
	})
	section("Left out (--leave-out-agents):", app.AgentLeftOut, func(r app.AgentReport) []string { return []string{r.Path} })
	section("In "+cfg.ProvidersFile+":", app.AgentConfigured, func(r app.AgentReport) []string { return []string{r.Program} })
	section("Not installed:", app.AgentMissing, func(r app.AgentReport) []string {
		if r.Note != "" {
			return []string{r.Install, r.Note}
		}
		return []string{r.Install}
	})
	b.WriteString("`sessionhub serve` offers what is ready, in local mode or with --discover-agents; it looks again every 10 s. The demo agent is always there.\n")
	_, err := io.WriteString(out, b.String())
	return err
}

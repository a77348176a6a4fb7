package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

// runHelp is `sessionhub help [COMMAND]`.
func runHelp(args []string) int {
	switch {
	case len(args) == 0 || isHelp(args[0]):
		if err := helpAll(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "sessionhub help:", err)
			return exitFailed
		}
		return exitOK
	case len(args) > 1:
		fmt.Fprintf(os.Stderr, "sessionhub help: %q is not expected behind the command\n", args[1])
		return exitUsage
	}
	return help(os.Stdout, args[0])
}

// help prints what one command does and takes.
func help(w io.Writer, name string) int {
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		if err := c.help(w); err != nil {
			fmt.Fprintln(os.Stderr, "sessionhub help:", err)
			return exitFailed
		}
		return exitOK
	}
	fmt.Fprintf(os.Stderr, "sessionhub help: there is no command %q; `sessionhub help` lists them\n", name)
	return exitUsage
}

func (c command) help(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "Usage: %s\n\n%s.\n", strings.TrimSpace("sessionhub "+c.name+" "+c.args), sentence(c.summary)); err != nil {
		return err
	}
	if c.usage == nil {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return c.usage(w)
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// helpAll prints every command with its flags.
func helpAll(w io.Writer) error {
	text := "Usage: sessionhub COMMAND [flags]\n\n"
	for _, c := range commands() {
		text += fmt.Sprintf("  %-12s %s\n", c.name, c.summary)
	}
	text += "  help         print this, or with a command's name only what it takes\n" +
		"\nExit codes: 0 done, 1 failed at run time, 2 bad usage or configuration.\n"
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	for _, c := range commands() {
		if c.usage == nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n== sessionhub %s\n\n", strings.TrimSpace(c.name+" "+c.args)); err != nil {
			return err
		}
		if err := c.usage(w); err != nil {
			return err
		}
	}
	return nil
}

// noArguments judges what follows a command that takes nothing. done: there was
// something, and code is what to exit with.
func noArguments(name string, args []string) (code int, done bool) {
	switch {
	case len(args) == 0:
		return exitOK, false
	case isHelp(args[0]):
		return help(os.Stdout, name), true
	}
	fmt.Fprintf(os.Stderr, "sessionhub %s: %q is not expected: it takes no arguments\n", name, args[0])
	return exitUsage, true
}

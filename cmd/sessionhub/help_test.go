package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each command tells of itself in three ways, and in the help of all.
func TestHelpOfEachCommand(t *testing.T) {
	code, all := program(t, nil, "help")
	if code != exitOK {
		t.Fatalf("help exits with %d", code)
	}
	for _, c := range commands() {
		code, long := program(t, nil, "help", c.name)
		if code != exitOK || !strings.HasPrefix(long, "Usage: sessionhub "+c.name) {
			t.Errorf("help %s: %d, %s", c.name, code, long)
		}
		for _, flag := range []string{"--help", "-h"} {
			if code, out := program(t, nil, c.name, flag); code != exitOK || out != long {
				t.Errorf("%s %s: %d, %s", c.name, flag, code, out)
			}
		}
		if !strings.Contains(all, "  "+c.name+" ") {
			t.Errorf("help does not list %s", c.name)
		}
		if c.usage != nil && !strings.Contains(all, strings.SplitN(long, "\n\n", 3)[2]) {
			t.Errorf("help lacks what help %s says", c.name)
		}
	}
}

// What a line of the conversation can begin with is in the help of chat: the agent gets /help.
func TestHelpOfTheConversation(t *testing.T) {
	_, out := program(t, nil, "chat", "--help")
	for _, word := range []string{"/steer", "/now", "/queue", "/refuse", "/options", "/mode", "/model", "/commands", "/usage", "/rename", "/decline", "/close", "/skip", "/back", "//", "Ctrl-C"} {
		if !strings.Contains(out, word) {
			t.Errorf("the help of chat lacks %s:\n%s", word, out)
		}
	}
}

// Every flag of serve and token in the help has its variable beside it.
func TestHelpNamesVariables(t *testing.T) {
	entry := regexp.MustCompile(`(?m)^  --([a-z-]+)[^\n]*\n      [^\n]+\n      \((SESSIONHUB_[A-Z_]+)`)
	flag := regexp.MustCompile(`(?m)^  --([a-z-]+)`)
	for _, c := range commands() {
		if c.usage == nil || c.name == "bench" { // bench says why it has none
			continue
		}
		_, out := program(t, nil, "help", c.name)
		var all, withVariable []string
		for _, m := range flag.FindAllStringSubmatch(out, -1) {
			all = append(all, m[1])
		}
		for _, m := range entry.FindAllStringSubmatch(out, -1) {
			withVariable = append(withVariable, m[1])
			if want := "SESSIONHUB_" + strings.ToUpper(strings.ReplaceAll(m[1], "-", "_")); m[2] != want {
				t.Errorf("%s: the variable of --%s is %s", c.name, m[1], m[2])
			}
		}
		if len(all) == 0 || !slices.Equal(all, withVariable) {
			t.Errorf("%s: flags %v, with a variable %v", c.name, all, withVariable)
		}
	}
}

package fakemodel

import (
	"fmt"
	"slices"
	"strings"
)

// Tool is a tool that an agent offers to its model.
type Tool struct {
	Name string
	// Namespace is that of OpenAI's format; empty: none.
	Namespace string
	// Properties are the arguments: name to JSON schema.
	Properties map[string]Property
	// Freeform: the tool takes a text instead of arguments.
	Freeform bool
}

// Property is the part of an argument's JSON schema that a script needs.
type Property struct {
	Type string `json:"type"`
}

// pick finds the first of the names among the tools. Agents have different
// names for the same thing, and one agent has several over its versions.
func pick(tools []Tool, names ...string) (Tool, error) {
	for _, name := range names {
		if i := slices.IndexFunc(tools, func(t Tool) bool { return t.Name == name }); i >= 0 {
			return tools[i], nil
		}
	}
	offered := make([]string, 0, len(tools))
	for _, tool := range tools {
		offered = append(offered, tool.Name)
	}
	return Tool{}, fmt.Errorf("the agent offers none of %q but %q", names, offered)
}

// shellCall runs a command. The arguments follow the tool's own schema, since
// the same tool takes a string here and a list there, as "command" or "cmd".
//
// Codex runs a command without asking where its sandbox allows it, and lets it
// fail where not. What says up front that it must leave the sandbox is what the
// user is asked about, so that is what is said where the schema offers it.
//
// background: the agent is not to wait for the command's end.
func shellCall(tools []Tool, command string, background bool) (*ToolCall, error) {
	tool, err := pick(tools, "exec_command", "shell_command", "shell", "Bash", "bash", "run_shell_command")
	if err != nil {
		return nil, err
	}
	arguments := map[string]any{}
	for name, schema := range tool.Properties {
		switch {
		case (name == "cmd" || name == "command") && schema.Type == "array":
			arguments[name] = []string{"/bin/sh", "-c", command}
		case name == "cmd" || name == "command":
			arguments[name] = command
		case name == "sandbox_permissions":
			arguments[name] = "require_escalated"
		case name == "run_in_background" && background, name == "is_background" && background:
			arguments[name] = true
		case name == "justification":
			arguments[name] = "May the test run this command?"
		case name == "description":
			arguments[name] = "Runs the test's command"
		}
	}
	return &ToolCall{Name: tool.Name, Arguments: arguments}, nil
}

// writeCall makes a new file of one line. Codex takes a patch; a relative path
// is in its working directory. Claude takes absolute paths only.
func writeCall(tools []Tool, path, content string) (*ToolCall, error) {
	tool, err := pick(tools, "apply_patch", "Write", "write", "write_file")
	if err != nil {
		return nil, err
	}
	patch := strings.Join([]string{"*** Begin Patch", "*** Add File: " + path, "+" + content, "*** End Patch", ""}, "\n")
	switch {
	case tool.Freeform:
		return &ToolCall{Name: tool.Name, Input: patch}, nil
	case tool.Name == "apply_patch":
		return &ToolCall{Name: tool.Name, Arguments: map[string]any{"input": patch}}, nil
	}
	name := "file_path"
	if _, ok := tool.Properties["filePath"]; ok {
		name = "filePath" // opencode
	}
	return &ToolCall{Name: tool.Name, Arguments: map[string]any{name: path, "content": content + "\n"}}, nil
}

// planCall tells the agent's plan of two steps, the first one done. The tools
// refuse fields that they do not know.
func planCall(tools []Tool) (*ToolCall, error) {
	tool, err := pick(tools, "update_plan", "TodoWrite")
	if err != nil {
		return nil, err
	}
	arguments := map[string]any{"plan": []any{
		map[string]any{"step": "Look at it", "status": "completed"},
		map[string]any{"step": "Change it", "status": "in_progress"},
	}}
	if tool.Name == "TodoWrite" {
		arguments = map[string]any{"todos": []any{
			map[string]any{"content": "Look at it", "status": "completed", "activeForm": "Looking at it"},
			map[string]any{"content": "Change it", "status": "in_progress", "activeForm": "Changing it"},
		}}
	}
	return &ToolCall{Name: tool.Name, Arguments: arguments}, nil
}

// mcpCall calls the tool "echo" of an MCP server. Agents put the server's name in front. One
// that has its model search for such tools gets the search: the next turn has the tool.
func mcpCall(tools []Tool, text string) (*ToolCall, error) {
	for _, tool := range tools {
		if strings.HasSuffix(tool.Name, "echo") {
			return &ToolCall{Name: tool.Name, Namespace: tool.Namespace, Arguments: map[string]any{"text": text}}, nil
		}
	}
	tool, err := pick(tools, "echo", "ToolSearch")
	return &ToolCall{Name: tool.Name, Arguments: map[string]any{"query": "echo", "max_results": 5}}, err
}

// questionCall asks the user which database it shall be, and which parts.
func questionCall(tools []Tool) (*ToolCall, error) {
	tool, err := pick(tools, "AskUserQuestion", "ask_user_question", "request_user_input")
	if err != nil {
		return nil, err
	}
	option := func(label, description string) map[string]any {
		return map[string]any{"label": label, "description": description}
	}
	database := map[string]any{
		"id": "database", "header": "Database", "question": "Which database shall it be?",
		"options": []any{option("Postgres", "The usual one"), option("SQLite", "A file")},
	}
	parts := map[string]any{
		"id": "parts", "header": "Parts", "question": "Which parts shall be built?",
		"options": []any{option("API", "The server"), option("Web", "The pages"), option("Docs", "The words")},
	}
	if tool.Name != "request_user_input" {
		for several, question := range map[bool]map[string]any{false: database, true: parts} {
			delete(question, "id")
			question["multiSelect"] = several
		}
	}
	return &ToolCall{Name: tool.Name, Arguments: map[string]any{"questions": []any{database, parts}}}, nil
}

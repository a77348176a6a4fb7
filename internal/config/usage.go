package config

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// helpColumn is where the explanations stand.
const helpColumn = 6

// usage prints the tables. rows must be bound to the defaults; those of one
// group stand together.
func usage(w io.Writer, rows []setting, secrets []secretSetting) error {
	b := bufio.NewWriter(w)
	hasFile := slices.ContainsFunc(rows, func(row setting) bool { return row.name == configName })
	_, _ = fmt.Fprint(b, "A flag wins over its variable")
	if hasFile {
		_, _ = fmt.Fprint(b, ", and that over the --config file (YAML, names as below)")
	}
	_, _ = fmt.Fprint(b, ".\n")
	indent := strings.Repeat(" ", helpColumn)
	group := ""
	for _, row := range rows {
		if row.group != group {
			group = row.group
			_, _ = fmt.Fprintf(b, "\n%s:\n", group)
		}
		_, _ = fmt.Fprintf(b, "  %s\n%s%s", strings.TrimSpace("--"+row.name+" "+row.value.placeholder()), indent, row.help)
		_, _ = fmt.Fprintf(b, "\n%s(%s", indent, variable(row.name))
		if text := row.value.String(); text != "" {
			_, _ = fmt.Fprintf(b, ", default %s", text)
		}
		_, _ = fmt.Fprintf(b, ")\n")
	}
	if len(secrets) > 0 {
		_, _ = fmt.Fprintf(b, "\nSecrets, from the environment alone:\n")
	}
	for _, s := range secrets {
		_, _ = fmt.Fprintf(b, "  %s\n%s%s\n", s.variables(), indent, s.help)
	}
	return b.Flush() // keeps the first error of all writes above
}

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// ErrHelp is the answer to -h and --help.
var ErrHelp = errors.New("help was asked for")

// Error names everything that is wrong with the settings.
type Error struct {
	Problems []Problem
}

// Problem is one thing that is wrong: where it was said (a flag, a variable, a
// file and its line), what is wrong with it, and what would be right.
type Problem struct {
	Source string
	Detail string
}

func (p Problem) String() string { return p.Source + ": " + p.Detail }

// Error has a line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

const (
	variablePrefix = "SESSIONHUB_"
	// configName is the setting that names the file; it cannot stand in it.
	configName = "config"
)

// setting is one line of a table: a name in the form of a flag, where it
// stands in the help, and the value behind it.
type setting struct {
	name  string
	group string
	help  string
	value value
}

func variable(name string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parser takes settings from their sources to their values. A value that
// cannot be read leaves the one below it.
type parser struct {
	rows    []setting
	secrets []secretSetting
	environ func(string) (string, bool)

	problems []Problem
	wrong    map[string]bool // settings with a problem
	said     map[string]bool // settings that any source names
}

// given is a setting's text and where it was said.
type given struct {
	name, text, source string
}

func (p *parser) parse(args []string) error {
	p.wrong, p.said = map[string]bool{}, map[string]bool{}
	flags, err := p.flags(args)
	if err != nil {
		return err
	}

	// The file is the weakest, but which one it is stands in the others.
	path, source := "", ""
	all := slices.Concat(p.variables(), flags)
	for _, g := range all {
		if g.name == configName {
			path, source = g.text, g.source
		}
	}
	if path != "" {
		p.file(path, source)
	}
	for _, g := range all {
		p.set(g.name, g.source, func(v value) error { return v.set(g.text) })
	}
	p.readSecrets()
	return nil
}

// set gives a known setting its value.
func (p *parser) set(name, source string, set func(value) error) {
	row := p.row(name)
	p.said[name] = true
	if err := set(row.value); err != nil {
		p.wrong[name] = true
		p.problem(source, "%w", err)
	}
}

// variables reads the environment. An empty variable counts as none: that is
// what compose files and shells make of one that was not given.
func (p *parser) variables() []given {
	var all []given
	for _, row := range p.rows {
		name := variable(row.name)
		if text, ok := p.environ(name); ok && text != "" {
			all = append(all, given{row.name, text, name})
		}
	}
	return all
}

// flags reads the command line: --name value, --name=value, and --name alone
// for a switch.
func (p *parser) flags(args []string) ([]given, error) {
	var all []given
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch arg {
		case "-h", "-help", "--help":
			return nil, ErrHelp
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag {
			p.unexpected(arg)
			continue
		}
		if name == "" { // what follows are no flags
			for _, rest := range args {
				p.unexpected(rest)
			}
			return all, nil
		}
		name, text, hasText := strings.Cut(name, "=")
		row := p.row(name)
		switch {
		case row == nil:
			// What follows belongs to it: it may be a secret, so it must not
			// be named as an unexpected argument.
			if !hasText && len(args) > 0 && !strings.HasPrefix(args[0], "--") && args[0] != "-h" {
				args = args[1:]
			}
			p.unknown("--"+clip(name), name, "flag", "--")
			continue
		case hasText:
		case row.value.isSwitch():
			text = "true"
		case len(args) == 0 || strings.HasPrefix(args[0], "--"):
			p.wrong[name] = true
			p.problem("--"+name, "has no value: want %s", row.value.want())
			continue
		default:
			text, args = args[0], args[1:]
		}
		all = append(all, given{name, text, "--" + name})
	}
	return all, nil
}

func (p *parser) unexpected(arg string) {
	const source = "command line"
	if name := strings.TrimLeft(arg, "-"); arg != name && name != "" {
		name, _, _ = strings.Cut(name, "=") // the rest may be a secret
		if p.row(name) != nil {
			p.problem(source, "unknown flag %q: did you mean --%s?", "-"+name, name)
			return
		}
		p.problem(source, "unknown flag %q: flags begin with --; see --help", "-"+clip(name))
		return
	}
	p.problem(source, "unexpected argument %q: want flags only; see --help", clip(arg))
}

// unknown names a flag or key that there is none of, and what may have been
// meant; prefix is how the meant one is written.
func (p *parser) unknown(source, name, kind, prefix string) {
	for _, s := range p.secrets {
		if name == s.name || (s.secret != nil && name == s.name+"-file") {
			p.problem(source, "is not a %s, since others could read it there: want it in the environment as %s", kind, s.variables())
			return
		}
	}
	if meant := p.nearest(name); meant != "" {
		p.problem(source, "unknown %s: did you mean %s%s?", kind, prefix, meant)
		return
	}
	p.problem(source, "unknown %s: see --help for all settings", kind)
}

func (p *parser) row(name string) *setting {
	for i := range p.rows {
		if p.rows[i].name == name {
			return &p.rows[i]
		}
	}
	return nil
}

// right reports that nothing was wrong with a setting.
func (p *parser) right(name string) bool { return !p.wrong[name] }

func (p *parser) problem(source, format string, args ...any) {
	p.problems = append(p.problems, Problem{source, fmt.Errorf(format, args...).Error()})
}

func (p *parser) err() error {
	if len(p.problems) == 0 {
		return nil
	}
	return &Error{p.problems}
}

// nearest is the name that a mistyped one probably meant, or "".
func (p *parser) nearest(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	if len(name) > 64 {
		return ""
	}
	best, least := "", max(2, len(name)/3)+1
	for _, row := range p.rows {
		if d := distance(name, row.name); d < least {
			best, least = row.name, d
		}
	}
	return best
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// clip bounds what a message says of a value, and keeps it on its line.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

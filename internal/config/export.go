package config

import "io"

// Export is what `sessionhub export` obeys.
type Export struct {
	Session string // the argument
	Hub     string // http:// or https://
	KeyFile string // of the API key
	Format  string // ExportMarkdown or ExportJSON
	Output  string // a file that does not exist; empty: stdout

	// From the environment alone.
	APIKey Secret // or from KeyFile
	Token  Secret // of Session
}

// The values of Format.
const (
	ExportMarkdown = "markdown"
	ExportJSON     = "json"
)

// DefaultExport is what holds where nothing is set. There is no default for Session.
func DefaultExport() Export { return Export{Hub: DefaultChat().Hub, Format: ExportMarkdown} }

const groupTranscript = "The transcript"

func (e *Export) settings() []setting {
	return []setting{
		{"hub", groupHub, "the hub's address", chatHub(&e.Hub)},
		{"key-file", groupHub, "holds the API key, if SESSIONHUB_API_KEY does not", text(&e.KeyFile, "a file")},

		{"format", groupTranscript, "markdown for people, json for programs", choice(&e.Format, ExportMarkdown, ExportJSON)},
		{"output", groupTranscript, "a new file, for you alone to read; empty: stdout", text(&e.Output, "a file")},
	}
}

func (e *Export) secrets() []secretSetting {
	return []secretSetting{
		{name: "api-key", help: "a key that may read the session; a hub in local mode wants none", secret: &e.APIKey, check: checkKey},
		{name: "token", help: "a token of the session, in place of the key", secret: &e.Token, check: checkKey},
	}
}

// ParseExport reads the one argument and the settings of `sessionhub export`.
func ParseExport(args []string, environ func(string) (string, bool)) (Export, error) {
	e := DefaultExport()
	p := parser{rows: e.settings(), secrets: e.secrets(), environ: environ}
	var flags []string
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case len(arg) > 0 && arg[0] == '-':
			flags = append(flags, arg)
			if row := p.row(trimFlag(arg)); row != nil && !row.value.isSwitch() && i+1 < len(args) { // its value follows
				i++
				flags = append(flags, args[i])
			}
		case e.Session != "":
			p.problem("command line", "there is more than one session")
		case len(arg) == 0:
			p.problem("command line", "the session's id is empty")
		default:
			e.Session = arg
		}
	}
	if err := p.parse(flags); err != nil {
		return e, err
	}
	if e.Session == "" && len(p.problems) == 0 {
		p.problem("command line", "there is no session: want the id of one")
	}
	p.keyFile(e.KeyFile, &e.APIKey)
	return e, p.err()
}

// trimFlag is the name of a flag whose value is the next argument, or "".
func trimFlag(arg string) string {
	if len(arg) > 2 && arg[:2] == "--" {
		return arg[2:]
	}
	return ""
}

// ExportUsage prints every setting of `sessionhub export` with its default.
func ExportUsage(w io.Writer) error {
	e := DefaultExport()
	return usage(w, e.settings(), e.secrets())
}

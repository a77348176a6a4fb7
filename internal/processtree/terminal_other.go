//go:build unix && !linux

package processtree

// openTerminal gives pipes: there is no pseudo terminal of this program's here.
func openTerminal() (pipes, error) { return openPipes() }

package app

import (
	"fmt"
	"io"
	"log/slog"

	"sessionhub/internal/config"
)

// fact is a line of the banner.
type fact struct{ name, value string }

// banner says on out what runs and where. With --log-format json each line is a line of
// such a log: whoever collects both reads JSON alone.
func banner(out io.Writer, format string, facts []fact, notes ...string) {
	title := "sessionhub " + Version
	if format == config.LogJSON {
		log := slog.New(slog.NewJSONHandler(out, nil))
		log.Info(title)
		for _, f := range facts {
			log.Info(f.name + " " + f.value)
		}
		for _, note := range notes {
			log.Info(note)
		}
		return
	}
	fmt.Fprintln(out, title)
	for _, f := range facts {
		fmt.Fprintf(out, "  %-10s %s\n", f.name, f.value)
	}
	for _, note := range notes {
		fmt.Fprintln(out, "  "+note)
	}
}

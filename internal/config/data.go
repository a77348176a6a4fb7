package config

import "io"

// Data is what the commands for a store on disk obey: check, backup and upgrade.
type Data struct {
	Dir string // of the store
	To  string // of a backup
}

const groupData = "The store"

// settings is the table of check and upgrade.
func (d *Data) settings() []setting {
	return []setting{
		{"data-dir", groupData, "the directory that --data-dir of serve names", required(&d.Dir, "a directory")},
	}
}

// backupSettings is the table of backup.
func (d *Data) backupSettings() []setting {
	return append(d.settings(), setting{"to", groupData, "directory for the copy: an empty one, or one that does not exist; in one file system with the store it takes little room", required(&d.To, "a directory")})
}

// ParseData reads the settings of `sessionhub check` and `sessionhub upgrade` as Parse
// does those of serve.
func ParseData(args []string, environ func(string) (string, bool)) (Data, error) {
	var d Data
	err := parseData(args, environ, d.settings())
	return d, err
}

// ParseBackup reads the settings of `sessionhub backup` as Parse does those of serve.
func ParseBackup(args []string, environ func(string) (string, bool)) (Data, error) {
	var d Data
	err := parseData(args, environ, d.backupSettings())
	return d, err
}

func parseData(args []string, environ func(string) (string, bool), rows []setting) error {
	p := parser{rows: rows, environ: environ}
	if err := p.parse(args); err != nil {
		return err
	}
	for _, row := range rows {
		if row.value.String() == "" && p.right(row.name) {
			p.problem("--"+row.name, "is not set: want %s", row.help)
		}
	}
	return p.err()
}

// DataUsage prints every setting of `sessionhub check` and `sessionhub upgrade`.
func DataUsage(w io.Writer) error {
	var d Data
	return usage(w, d.settings(), nil)
}

// BackupUsage prints every setting of `sessionhub backup`.
func BackupUsage(w io.Writer) error {
	var d Data
	return usage(w, d.backupSettings(), nil)
}
